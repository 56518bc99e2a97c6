# SPDX-License-Identifier: BSD-2-Clause
"""What leeway says, in its log and its tools, holds neither a password nor a client's value; and
it says the same thing only so often."""
import re

import pytest

from harness.wait import wait_until

SECRET = "s3cret-horse"
ROUTES = """
context "c" { budget = 60s }
route "/items/{id}" { context = "c"  param "id" { type = text }
                      sql = "select $1::text as t" shape = value }
"""
LINE = re.compile(r"^(?:warn|error|info) pid=\d+ (msg=.*)$", re.MULTILINE)
COUNT = re.compile(r"suppressed=(\d+)")


@pytest.fixture(name="redis_with")
def make_redis_with(stack):
    """Starts the stack's Redis anew with further options."""
    def start(*options):
        stack.redis.stop()
        stack.redis.start(*options)
    return start


def test_lines_that_clients_cause_are_limited_and_counted(stack):
    requests = 200
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    stack.redis.client().config_set("maxmemory", "1")
    for i in range(requests):
        stack.ask(f"/items/{i}")
    assert worker.stop() == 0
    lines = [line for line in LINE.findall(worker.log_text()) if "redis refused a command" in line]
    written = sum(line.startswith('msg="redis refused') for line in lines)
    suppressed = sum(int(count) for line in lines for count in COUNT.findall(line))
    assert 10 <= written < requests / 2, worker.log_text()
    assert written + suppressed >= requests, worker.log_text()
