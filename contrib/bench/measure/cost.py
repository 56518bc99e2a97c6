# SPDX-License-Identifier: BSD-2-Clause
"""What processes have cost, from /proc."""
import os
from collections import namedtuple

from harness.process import tree

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")

# Microseconds of processor, how much of that in the kernel, and how often they went to sleep.
# Only the first is finer than a clock tick.
Usage = namedtuple("Usage", "us kernel_us sleeps")


def read(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def thread_us(pid):
    """Of all threads, to the nanosecond."""
    return sum(int(read(f"/proc/{pid}/task/{task}/schedstat").split()[0])
               for task in os.listdir(f"/proc/{pid}/task")) / 1000


def usage_of(pid):
    """Of the process, and of the children that it has waited for."""
    ticks = [int(field) for field in read(f"/proc/{pid}/stat").rpartition(")")[2].split()[11:15]]
    ended_us = (ticks[2] + ticks[3]) * TICK_US
    sleeps = next(int(line.split()[1]) for line in read(f"/proc/{pid}/status").splitlines()
                  if line.startswith("voluntary_ctxt_switches"))
    return Usage(thread_us(pid) + ended_us, (ticks[1] + ticks[3]) * TICK_US, sleeps)


def usage(*processes):
    """Of these trees so far."""
    found = [Usage(0, 0, 0)]
    for process in processes:
        for pid in tree(process.pid):
            try:
                found.append(usage_of(pid))
            except OSError:
                continue  # it has ended: its parent has its figures
    return Usage(*map(sum, zip(*found)))


def pss_kb(pid):
    """Proportional set size: what is shared counts by its share."""
    return next(int(line.split()[1]) for line in read(f"/proc/{pid}/smaps_rollup").splitlines()
                if line.startswith("Pss:"))


def memory_mb(*processes):
    """Of these trees, as they stand among whatever else shares pages with them."""
    return sum(pss_kb(pid) for process in processes for pid in tree(process.pid)) / 1024


class Meter:
    """`with Meter({"workers": [process]}) as meter:` ... then meter.used, a Usage by name, and
    meter.per(requests)."""

    def __init__(self, watched):
        self.watched = {name: list(processes) for name, processes in watched.items()}

    def read(self):
        return {name: usage(*processes) for name, processes in self.watched.items()}

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *exception):
        after = self.read()
        self.used = {name: Usage(*(late - early for early, late in zip(before, after[name])))
                     for name, before in self.before.items()}

    def per(self, count):
        """Microseconds for each of `count`, by name."""
        return {name: used.us / count for name, used in self.used.items()}
