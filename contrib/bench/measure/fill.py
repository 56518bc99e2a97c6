# SPDX-License-Identifier: BSD-2-Clause
"""What a miss costs of which the response is stored: each request asks for another key, straight to
one worker and one after another. Builds take turns."""
import gzip
import os
import statistics
import time

from harness import fastcgi
from harness.stack import Stack

from .cost import Meter


class Filler:
    """One build: `leeway-worker` of the folder `build`, with one worker and a Redis of its own."""

    def __init__(self, world, name, routes, redis, build):
        folder = world.stack.path(name)
        os.mkdir(folder)
        self.stack = Stack(folder, world.postgres, redis, world.DATABASE)
        self.stack.worker_program = os.path.join(os.path.abspath(build), "leeway-worker")
        world.stack.others.append(self.stack)
        self.stack.configure(routes, workers=1)
        worker = self.stack.start_worker()
        self.watched = {"worker": [worker], "Redis": [redis.process],
                        "Postgres": [world.postgres.process]}
        self.rounds = []
        self.pages = 0

    def hold(self, count, least):
        """One round of so many misses, of bodies of `least` bytes or more."""
        client, took_ms = self.stack.redis.client(), []
        client.flushall()
        with fastcgi.Connection(self.stack.socket) as connection:
            with Meter(self.watched) as meter:
                for _ in range(count):
                    self.pages += 1
                    began = time.perf_counter()
                    connection.send(fastcgi.request(f"/page/{self.pages}", keep=True,
                                                    HTTP_ACCEPT_ENCODING="gzip"))
                    status, headers, body = connection.read_answer()
                    took_ms.append((time.perf_counter() - began) * 1000)
                    if headers.get("content-encoding") == "gzip":
                        body = gzip.decompress(body)
                    assert status == 200 and "; stored" in headers["cache-status"], headers
                    assert len(body) >= least, f"page {self.pages}: {len(body)} bytes"
        self.rounds.append({**meter.per(count), "ms": statistics.median(took_ms)})

    def median(self, what):
        """Microseconds of processor by who took them, or "ms" for how long a miss took."""
        return statistics.median(one[what] for one in self.rounds)

    def spread(self, what):
        values = [one[what] for one in self.rounds]
        return f"{min(values):.0f} to {max(values):.0f}"


def hold(fillers, rounds, count, least):
    """The first round warms up and is left out."""
    for _ in range(rounds + 1):
        for filler in fillers:
            filler.hold(count, least)
    for filler in fillers:
        del filler.rounds[0]
