# SPDX-License-Identifier: BSD-2-Clause
"""A process's clocks and the speed of its writes, in a test's hand (shim.c)."""
import mmap
import os
import struct
import time


class Shim:
    """`environment` is for the process to start; the rest can be changed while it runs.
    `machine_id`: a file to be read for /etc/machine-id."""

    def __init__(self, library, file, machine_id=None):
        with open(file, "wb") as out:
            out.write(bytes(48))
        with open(file, "r+b") as mapped:
            self.memory = mmap.mmap(mapped.fileno(), 48)
        # a preloaded library comes before the sanitizer's own, which minds
        options = os.environ.get("ASAN_OPTIONS", "")
        self.environment = {**os.environ, "LD_PRELOAD": library, "SHIM_FILE": file,
                            "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0".lstrip(":")}
        if machine_id:
            self.environment["SHIM_MACHINE_ID"] = machine_id

    def set(self, at, seconds):
        self.set_number(at, int(seconds * 1e6))

    def set_number(self, at, number):
        self.memory[at:at + 8] = struct.pack("=q", number)

    def move_time_of_day(self, seconds):
        """By how much the clock is off, whatever it was before."""
        self.set(0, seconds)

    def delay_writes(self, seconds):
        self.set(8, seconds)

    def hold(self, seconds):
        """All clocks have stood still for so long, in all: as of a machine that was paused."""
        self.set(16, seconds)

    def slew(self, ppm):
        """From now on, as chrony does; the hardware's own clock keeps its rate. Once."""
        self.set(24, time.clock_gettime(time.CLOCK_MONOTONIC_RAW))
        self.set_number(32, ppm)

    def hold_names(self, held):
        """Looking up a name that ends in ".slow.test" takes until it is false again, and then leads
        to the loopback device."""
        self.set_number(40, int(held))
