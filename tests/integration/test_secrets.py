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


def test_a_command_that_redis_does_not_know_is_not_quoted(stack, redis_with):
    """Redis quotes the arguments of such commands, the password of AUTH included."""
    redis_with("--rename-command", "AUTH", "")
    stack.configure(ROUTES, redis=f'password = "{SECRET}"', workers=1)
    stack.start_worker()
    wait_until(lambda: "redis is away" in stack.logs(), "the failure is logged")
    assert "unknown command 'AUTH'" in stack.logs()
    check = stack.run("leewayctl", "-c", stack.config, "check")
    assert check.returncode == 3
    assert SECRET not in stack.logs() + check.stdout + check.stderr


def test_a_key_that_redis_quotes_is_not_logged(stack, redis_with):
    redis_with("--rename-command", "PUBLISH", "", "--rename-command", "SET", "",
               "--rename-command", "EVAL", "")
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    stack.ask(f"/items/{SECRET}")
    wait_until(lambda: "redis refused a command" in stack.logs(), "the refusal is logged")
    assert SECRET not in stack.logs()


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
