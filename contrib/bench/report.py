#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""All benchmarks, one after another, as one report: Markdown on standard output, pictures in a
folder, and at the end what the figures are meant to be. report.py FOLDER [PART...]; contrib/bench/run
calls it with a build of its own."""
import os
import platform
import re
import subprocess
import sys
import time
import traceback

import beside_waiting
import fairness
import growth
import hit
import mixed
import patterns
import per_hit
import stampede
from measure.markdown import table
from measure.plot import distributions
from measure.targets import targets
from measure.world import World

PARTS = {
    "hit": (hit, "A hit, behind each web server"),
    "patterns": (patterns, "The same hits in other ways"),
    "stampede": (stampede, "Stampedes"),
    "mixed": (mixed, "A mixed load"),
    "fairness": (fairness, "Kept connections"),
    "growth": (growth, "Growth"),
    "per_hit": (per_hit, "System calls and instructions"),
    "beside_waiting": (beside_waiting, "Hits beside what waits"),
}
VERSIONS = {
    "nginx": ["nginx", "-v"], "lighttpd": ["lighttpd", "-v"], "Apache": ["apache2", "-v"],
    "Varnish": ["varnishd", "-V"], "Redis": ["redis-server", "--version"], "Node": ["node", "-v"],
    "wrk": ["wrk", "-v"], "gcc": ["gcc", "-dumpfullversion"],
}


def version(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "not there"
    found = re.search(r"\d+\.[\d.]*\d", done.stdout + done.stderr)
    return found.group() if found else "?"


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        found = re.search(r"^model name\s*: (.*)$", info.read(), re.M)
    return found.group(1) if found else platform.machine()


def memory_gb():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 ** 30


def print_machine():
    print("# leeway: measured\n")
    print(f"{time.strftime('%Y-%m-%d')}; {os.cpu_count()} processors ({processor()}), "
          f"{memory_gb():.0f} GB, Linux {platform.release().split('-')[0]}; load generator and all "
          "servers on this machine, over loopback. " +
          ", ".join(f"{name} {version(command)}" for name, command in VERSIONS.items()) + ".",
          flush=True)


def file_name(*parts):
    return re.sub(r"[^a-z0-9]+", "-", "-".join(map(str, parts)).lower()).strip("-") + ".svg"


def draw(folder, name, found):
    """The distributions of the parts that compare programs under the same load."""
    if name in ("hit", "patterns"):
        for (what, connections), these in found.items():
            distributions(os.path.join(folder, file_name(name, what, connections)),
                          f"{what}, {connections} connections",
                          {program: one.permille_ms for program, one in these.items()})
    elif name == "mixed":
        distributions(os.path.join(folder, file_name(name)), "mixed load",
                      {program: one.figures.permille_ms for program, one in found.items()})


def run_part(folder, name, found):
    """Adds what it returns to `found`, by its name. False after saying what went wrong."""
    module, title = PARTS[name]
    print(f"\n## {title}", flush=True)
    began = time.monotonic()
    try:
        with World() as world:
            found[name] = module.run(world)
        draw(folder, name, found[name])
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
        print(f"\nThis part failed: {sys.exc_info()[1]}", flush=True)
        return False
    print(f"\n({name}: {time.monotonic() - began:.0f} s)", flush=True)
    return True


def main():
    folder, names = sys.argv[1], sys.argv[2:] or list(PARTS)
    if not set(names) <= set(PARTS):
        sys.exit(f"there is no such part; there are: {', '.join(PARTS)}")
    print_machine()
    found = {}
    failed = [name for name in names if not run_part(folder, name, found)]
    rows = targets(found)
    if rows:
        print("\n## What it is meant to be")
        table("Ratios of one run", ["figure", "to reach", "measured", ""], rows)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
