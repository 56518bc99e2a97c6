# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for conditions, with a deadline that only a failure ever reaches."""
import time

PATIENCE_S = 20


def wait_until(condition, what="condition", seconds=PATIENCE_S):
    """Returns the first true value of condition(); fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.01)
