# SPDX-License-Identifier: BSD-2-Clause
"""Clients that ask without a break while something is done to the processes behind."""
import contextlib
import threading

from .wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/hello" { context = "c"  sql = "select 'hello'::text as t"  shape = value }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select $1::int as id"
  shape = object
}
"""


class Loop:
    """Threads that do the same again and again until the end; what they raise does not count."""

    def __init__(self, count, act):
        self.over = threading.Event()
        self.act = act
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]

    def run(self):
        while not self.over.is_set():
            with contextlib.suppress(Exception):
                self.act()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        for thread in self.threads:
            thread.join(30)


class Load:
    """Requests without a break for a stack whose routes are ROUTES among others;
    `with Load(stack) as clients:` ... clients.statuses."""

    def __init__(self, stack, prefix="", threads=4):
        self.stack = stack
        self.prefix = prefix
        self.statuses = []
        self.errors = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True)
                        for number in range(threads)]

    def run(self, number):
        while not self.over.is_set():
            # hits and misses
            path = "/hello" if number % 2 else f"/items/{len(self.statuses)}"
            try:
                self.statuses.append(self.stack.get(self.prefix + path).status)
            except Exception as error:  # pylint: disable=broad-except
                self.errors.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.await_more(20)
        return self

    def __exit__(self, *exception):
        self.over.set()
        for thread in self.threads:
            thread.join(30)

    def await_more(self, count):
        target = len(self.statuses) + count
        wait_until(lambda: len(self.statuses) >= target, "requests are answered")

    def assert_none_lost(self):
        assert not self.errors
        assert set(self.statuses) == {200}
