# SPDX-License-Identifier: BSD-2-Clause
"""The two patterns of contrib/bench/node."""
import functools
import json
import os
import shutil
import subprocess
import sys

from harness.network import free_port
from harness.wait import wait_until

from . import HERE

SOURCE = os.path.join(os.path.dirname(HERE), "node")
PROCESSES = 2
POOL = 10  # connections to Postgres of each, as common.js has it


@functools.cache
def npm_fails(folder):
    """Why, or None. Once is enough: without a network each try takes its minutes."""
    try:
        shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
        subprocess.run(["npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"],
                       cwd=folder, check=True, timeout=180, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        print(f"npm: {error} {said.decode(errors='replace')[-500:]}", file=sys.stderr)
        return f"npm failed: {type(error).__name__}"
    return None


def install(world):
    """A folder with the programs and what they need, and why it is not to be had, or None. Several
    parts of one run share it through LEEWAY_BENCH_NODE."""
    folder = os.environ.get("LEEWAY_BENCH_NODE") or world.stack.path("node")
    if os.path.exists(os.path.join(folder, "node_modules", ".package-lock.json")):
        return folder, None
    return folder, npm_fails(folder)


class Node:
    def __init__(self, name, port, process):
        self.name = name
        self.port = port
        self.process = process


def start_node(world, kind, routes):
    """`kind` is "before" or "after", `routes` as common.js says. None where npm fails, after saying
    so in the report and in world.missing."""
    name = f"article, {kind}"
    folder, failure = install(world)
    if failure is not None:
        world.missing.append(name)
        print(f"\nWithout {name}: {failure}", flush=True)
        return None
    port = free_port()
    settings = world.stack.path(f"node-{kind}-{port}.json")
    with open(settings, "w", encoding="utf-8") as out:
        json.dump({"port": port, "processes": PROCESSES, "redis": world.redis.socket,
                   "postgres": {"host": world.postgres.folder, "user": "leeway",
                                "database": world.DATABASE}, "routes": routes}, out)
    process = world.stack.start_process(
        f"node-{kind}-{port}", ["env", "NODE_ENV=production", "node",
                                os.path.join(folder, f"{kind}.js"), settings])
    world.stack.port = port
    wait_until(lambda: world.stack.port_answers() or not process.is_running(), "Node answers")
    assert process.is_running(), process.log_text()
    return Node(name, port, process)
