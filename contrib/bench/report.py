#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""All benchmarks, one after another, as one report: Markdown on standard output, pictures in a
folder, and at the end what the figures are meant to be. report.py FOLDER [PART...]; contrib/bench/run
calls it with a build of its own, and LEEWAY_BENCH_COMMIT to say of what."""
import contextlib
import os
import platform
import re
import signal
import subprocess
import sys
import time
import traceback

# it is measure that makes harness known
import beside_waiting
import containment
import fairness
import growth
import hit
import mixed
import patterns
import peers
import per_hit
import stampede
from measure.markdown import table
from measure.plot import distributions
from measure.targets import targets
from measure.world import World, exit_on_signals

from harness.postgres import find_program

LIMIT_S = int(os.environ.get("LEEWAY_BENCH_LIMIT_S", str(19 * 60)))
PARTS = {
    "hit": (hit, "A hit, behind each web server"),
    "patterns": (patterns, "The same hits in other ways"),
    "stampede": (stampede, "Stampedes"),
    "mixed": (mixed, "A mixed load"),
    "fairness": (fairness, "Kept connections"),
    "growth": (growth, "Growth"),
    "per_hit": (per_hit, "System calls and instructions"),
    "beside_waiting": (beside_waiting, "Hits beside what waits"),
    "containment": (containment, "All faults at once"),
    "peers": (peers, "Beside other caches, with and without gzip"),
}
# takes as long as all others together
ON_REQUEST = {"peers"}
VERSIONS = {
    "nginx": ["nginx", "-v"], "lighttpd": ["lighttpd", "-v"], "Apache": ["apache2", "-v"],
    "Varnish": ["varnishd", "-V"], "Redis": ["redis-server", "--version"],
    "PostgreSQL": [find_program("postgres"), "--version"], "Node": ["node", "-v"],
    "libfcgi": ["pkg-config", "--modversion", "fcgi"],
    "hiredis": ["pkg-config", "--modversion", "hiredis"],
    "wrk": ["wrk", "-v"], "gcc": ["gcc", "-dumpfullversion"],
}


def version(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
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
    commit = os.environ.get("LEEWAY_BENCH_COMMIT") or "not known"
    print(f"{time.strftime('%Y-%m-%d')}; commit {commit}; "
          f"{os.cpu_count()} processors ({processor()}), "
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


class OutOfTime(Exception):
    """Nothing that a part catches itself."""


@contextlib.contextmanager
def limited(seconds):
    """Raises OutOfTime in what takes longer."""
    def give_up(*_):
        raise OutOfTime("out of time")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Report:
    """`found` is what the parts have returned, `lacks` words on what is not as it was asked for,
    both by the part's name."""

    def __init__(self, folder):
        self.folder = folder
        self.deadline = time.monotonic() + LIMIT_S
        self.found = {}
        self.lacks = {}
        self.has_failed = False

    def part(self, name):
        began = time.monotonic()
        print(f"\n## {PARTS[name][1]}", flush=True)
        if began >= self.deadline:
            self.fail(name, "skipped: out of time")
            return
        try:
            self.measure(name)
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc()
            self.fail(name, f"failed: {str(error) or type(error).__name__}")
        else:
            print(f"\n({name}: {time.monotonic() - began:.0f} s)", flush=True)

    def measure(self, name):
        with World() as world:
            with limited(self.deadline - time.monotonic()):
                self.found[name] = PARTS[name][0].run(world)
            if world.missing:
                self.lacks[name] = f"without {' and without '.join(world.missing)}"
        draw(self.folder, name, self.found[name])

    def fail(self, name, why):
        self.has_failed = True
        self.lacks[name] = why.partition("\n")[0]
        print(f"\n{name} {why}", flush=True)

    def conclude(self):
        rows = targets(self.found)
        if rows:
            print("\n## What it is meant to be")
            table("Ratios of one run", ["figure", "to reach", "measured", ""], rows)
        if self.lacks:
            print("\nNot all of it was measured:\n")
            for name, what in self.lacks.items():
                print(f"- {name} {what}")


def main():
    folder = sys.argv[1]
    names = sys.argv[2:] or [name for name in PARTS if name not in ON_REQUEST]
    if not set(names) <= set(PARTS):
        sys.exit(f"there is no such part; there are: {', '.join(PARTS)}")
    exit_on_signals()
    print_machine()
    report = Report(folder)
    for name in names:
        report.part(name)
    report.conclude()
    sys.exit(report.has_failed)


if __name__ == "__main__":
    main()
