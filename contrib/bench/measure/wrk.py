# SPDX-License-Identifier: BSD-2-Clause
"""Load by wrk: so many connections, each asking again as soon as it is answered. Its percentiles
count a request that took long several times, as those that its client could not make meanwhile
(coordinated omission); `slowest` is that of a request that was made."""
import json
import os
import subprocess

from . import HERE

HITS = "wrk.lua"


def errors_told(errors):
    """How many of each kind."""
    return ", ".join(f"{count} {name}" for name, count in errors.items()) or "0"


class Run:
    """One run's figures. `permille_ms`: the latency below which so many thousandths lie, 0 to 999,
    then 99.99 % and the longest."""

    def __init__(self, report):
        self.requests = report["requests"]
        self.seconds = report["seconds"]
        self.bytes = report["bytes"]
        self.permille_ms = [micros / 1000 for micros in report["permille_us"]]
        self.errors = {name: report[name]
                       for name in ("connect", "read", "write", "status", "timeout")
                       if report[name]}
        self.cpu = {}  # name: microseconds a request
        self.counts = report["counts"]  # of mixed.lua

    @property
    def rate(self):
        return self.requests / self.seconds

    def percentile(self, percent):
        return self.permille_ms[round(percent * 10)]

    @property
    def slowest(self):
        return self.permille_ms[-1]


def run(port, work, connections, seconds, timeout=5, script=HITS, headers=()):
    """`work` is a path, or the arguments that `script` takes; `headers` lines of each request."""
    if isinstance(work, str):
        work = ("same", work)
    lines = [word for line in headers for word in ("-H", line)]
    out = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", f"--timeout={timeout}", *lines,
         "-s", os.path.join(HERE, script), f"http://127.0.0.1:{port}", "--", *map(str, work)],
        check=True, capture_output=True, text=True, timeout=seconds + 60,
        env={**os.environ, "LEEWAY_BENCH_REPORT": os.path.join(HERE, "report.lua")}).stdout
    return Run(json.loads(out.splitlines()[-1]))
