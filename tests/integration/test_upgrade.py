# SPDX-License-Identifier: BSD-2-Clause
"""From the release before to this build and back, host by host and under load: no error, no late
answer, no job lost. LEEWAY_PREVIOUS_BUILDDIR has the programs of that release; without it there is
nothing to test (contrib/upgrade makes it)."""
import os
import random
import socket
import time

import pytest

from harness.load import Loop
from harness.stack import BUILD
from harness.wait import wait_until

PREVIOUS = os.environ.get("LEEWAY_PREVIOUS_BUILDDIR")
BUDGET_S = 4
KEYS = 12
ROUTES = f"""
context "c" {{ budget = {BUDGET_S}s  refresh_at = 0.25 }}
route "/now/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select extract(epoch from clock_timestamp())::float8 as at where $1::int >= 0"
  shape = value
}}
"""


class Host:
    """A stack whose listening socket outlives its daemons, as a service manager's does."""

    def __init__(self, stack, name):
        self.stack, self.name, self.lives = stack, name, 0
        stack.configure(ROUTES, workers=2)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(stack.socket)
        self.listener.listen(256)
        self.worker = self.refresher = None

    def start(self, build):
        self.lives += 1
        name = f"{self.name}{self.lives}"
        self.worker = self.stack.start_process(
            "worker-" + name, [os.path.join(build, "leeway-worker"), "-c", self.stack.config],
            stdin=self.listener.fileno())
        self.refresher = self.stack.start_process(
            "refresher-" + name,
            [os.path.join(build, "leeway-refresher"), "-c", self.stack.config])
        wait_until(lambda: self.worker.has_children(2) and self.refresher.has_children(1),
                   "they are there")

    def change_to(self, build):
        for process in (self.worker, self.refresher):
            assert process.stop() == 0, process.log_text()
        self.start(build)


class Clients(Loop):
    """Ask one host without a break; what they see is judged as they see it."""

    def __init__(self, host, threads=3):
        super().__init__(threads, self.ask)
        self.host = host
        self.chance = random.Random()
        self.answers, self.errors, self.late = 0, [], []
        self.statuses = {}

    def ask(self):
        began = time.time()
        try:
            status, headers, body = self.host.stack.ask(f"/now/{self.chance.randrange(KEYS)}")
        except Exception as error:
            self.errors.append(repr(error))
            raise
        self.answers += 1
        if status != 200:
            self.errors.append(f"{status} {body}")
            return
        said = headers["cache-status"].split(";")[1].strip().split("=")[0]
        self.statuses[said] = self.statuses.get(said, 0) + 1
        # it was as old as that when it was asked for
        if began - float(body) > BUDGET_S:
            self.late.append(began - float(body))

    def await_more(self, count=200):
        wanted = self.answers + count
        wait_until(lambda: self.answers >= wanted, "requests are answered")


def newest(stack):
    """When each key was last queried, of whatever version."""
    found = {}
    for number in range(KEYS):
        found[number] = float(stack.ask(f"/now/{number}")[2])
    return found


def await_all_refreshed(stack):
    """Each key anew, three times, behind hits: nothing is a miss once it is there."""
    for _ in range(3):
        before = newest(stack)

        def is_anew(number):
            return float(stack.ask(f"/now/{number}")[2]) > before[number]  # noqa: B023
        for number in range(KEYS):
            wait_until(lambda number=number: is_anew(number), f"key {number} is anew")


@pytest.mark.alone
def test_host_by_host_and_back(stack):
    hosts = [Host(stack, "a"), Host(stack.beside("b"), "b")]
    for host in hosts:
        host.start(PREVIOUS)
    wait_until(lambda: all(host.stack.ask("/now/0")[0] == 200 for host in hosts), "they serve")
    with Clients(hosts[0]) as first, Clients(hosts[1]) as second:
        clients = (first, second)
        for build in (BUILD, PREVIOUS, BUILD):
            for host in hosts:
                for each in clients:
                    each.await_more()
                host.change_to(build)
            await_all_refreshed(stack)
            misses = [each.statuses.get("fwd", 0) for each in clients]
            await_all_refreshed(stack)
            # an evicted mark or a late refresher may cost one
            assert sum(each.statuses.get("fwd", 0) for each in clients) - sum(misses) <= 1
    for each in clients:
        print(f"{each.host.name}: {each.answers} answers, {each.statuses}, "
              f"{len(each.errors)} errors, {len(each.late)} late")
        assert not each.errors and not each.late
    # no job is left in anybody's hands
    client = stack.redis.client()

    def is_settled():
        return not [key for key in client.keys("*processing*") if client.type(key) == b"list"]
    for host in hosts:
        assert host.refresher.stop() == 0
    wait_until(is_settled, "no job is in hand")
