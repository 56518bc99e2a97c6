# SPDX-License-Identifier: BSD-2-Clause
"""The two patterns of contrib/bench/node."""
import json
import os
import shutil
import subprocess
import sys

from harness.stack import free_port
from harness.wait import wait_until

from . import HERE

SOURCE = os.path.join(os.path.dirname(HERE), "node")


def install(world):
    """A folder with the programs and what they need; None if it is not to be had. Several parts of
    one run share it through LEEWAY_BENCH_NODE."""
    folder = os.environ.get("LEEWAY_BENCH_NODE") or world.stack.path("node")
    if os.path.exists(os.path.join(folder, "node_modules", ".package-lock.json")):
        return folder
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    try:
        subprocess.run(["npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"],
                       cwd=folder, check=True, timeout=180, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        print(f"\nWithout Node: npm failed ({error}) {said.decode()[-500:]}", file=sys.stderr)
        return None
    return folder


class Node:
    def __init__(self, name, port, process):
        self.name = name
        self.port = port
        self.process = process


def start_node(world, kind, routes, processes=2):
    """`kind` is "before" or "after", `routes` as common.js says. None where npm fails."""
    folder = install(world)
    if folder is None:
        return None
    port = free_port()
    settings = world.stack.path(f"node-{kind}-{port}.json")
    with open(settings, "w", encoding="utf-8") as out:
        json.dump({"port": port, "processes": processes, "redis": world.redis.socket,
                   "postgres": {"host": world.postgres.folder, "user": "leeway",
                                "database": world.DATABASE}, "routes": routes}, out)
    process = world.stack.start_process(
        f"node-{kind}-{port}", ["node", os.path.join(folder, f"{kind}.js"), settings])
    world.stack.port = port
    wait_until(lambda: world.stack.port_answers() or not process.is_running(), "Node answers")
    assert process.is_running(), process.log_text()
    return Node(f"article, {kind}", port, process)
