# SPDX-License-Identifier: BSD-2-Clause
"""What processes have cost, from /proc."""
import os

TICK = os.sysconf("SC_CLK_TCK")


def tree(pid):
    """`pid` and all that descend from it."""
    pids = [pid]
    for parent in pids:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as children:
                    pids += [int(child) for child in children.read().split()]
        except OSError:
            continue
    return pids


def cpu_us(*processes):
    """Microseconds of processor of these trees so far, children that have ended included."""
    ticks = 0
    for process in processes:
        for pid in tree(process.pid):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICK * 1e6


def pss_kb(pid):
    """Proportional set size: what is shared counts by its share."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


class Meter:
    """`with Meter({"workers": [process]}) as meter:` ... then meter.per(requests)."""

    def __init__(self, watched):
        self.watched = {name: list(processes) for name, processes in watched.items()}

    def read(self):
        return {name: cpu_us(*processes) for name, processes in self.watched.items()}

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *exception):
        after = self.read()
        self.used = {name: after[name] - self.before[name] for name in after}

    def per(self, count):
        """Microseconds for each of `count`."""
        return {name: used / count for name, used in self.used.items()}
