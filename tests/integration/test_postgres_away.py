# SPDX-License-Identifier: BSD-2-Clause
"""Without Postgres what is within its budget is served on, and errors never replace it."""
import os
import re
import shutil
import tempfile
import time

import pytest

from harness.postgres import Postgres
from harness.stack import Stack
from harness.wait import wait_until

ROUTES = """
context "short" { budget = 1s  stale_if_error = 1h }
context "stale" { budget = 20s  refresh_at = 0.05 }
route "/items/{id}" { param "id" { type = int } sql = "select $1::int as id"  shape = object }
route "/short" { context = "short"  sql = "select 1 as one"  shape = object }
route "/stale" { context = "stale"  sql = "select 1 as one"  shape = object }
"""


@pytest.fixture
def own(folder, redis):
    """A stack whose Postgres may be stopped."""
    place = tempfile.mkdtemp(prefix="lw-pg-", dir="/tmp")
    os.chmod(place, 0o755)
    postgres = Postgres(place)
    stack = Stack(folder, postgres, redis, "postgres")
    yield stack
    stack.stop()
    findings = stack.findings()
    print(stack.logs())
    postgres.stop()
    shutil.rmtree(place, ignore_errors=True)
    assert not findings


def test_away_and_back(own):
    own.start(ROUTES)
    own.get("/items/1")
    own.postgres.stop()
    assert "hit" in own.get("/items/1").cache
    answer = own.get("/items/2")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.control == "no-store"
    assert own.get("/health").status == 200
    own.postgres.start()
    wait_until(lambda: own.get("/items/2").status == 200, "computed again")


def test_stale_if_error(own):
    own.start(ROUTES)
    own.get("/short")
    own.postgres.stop()
    time.sleep(1.1)
    answer = own.get("/short")
    assert answer.status == 200
    assert re.fullmatch(r"leeway; hit; ttl=-\d+; detail=stale-if-error", answer.cache)
    assert answer.control == "private, no-cache"
    own.postgres.start()
    wait_until(lambda: "stale-if-error" not in own.get("/short").cache, "computed again")


def test_past_its_budget_and_back(own):
    own.start(ROUTES, refresher=False)
    own.get("/short")
    time.sleep(1.1)
    answer = own.get("/short")
    assert answer.cache == "leeway; fwd=stale; fwd-status=200; stored"


def test_a_failed_refresh_keeps_the_entry(own):
    own.start(ROUTES)
    own.get("/stale")
    own.postgres.stop()
    time.sleep(1.1)
    assert "detail=stale" in own.get("/stale").cache
    wait_until(lambda: own.redis.client().keys("*:failures:*"), "the refresh has failed")
    assert "detail=stale" in own.get("/stale").cache


def test_a_connection_lost_in_the_middle_is_not_noticed(own):
    own.start(ROUTES + """route "/slow" { sql = "select 1 as n from pg_sleep(0.5) -- marker:slow" }""",
              refresher=False)
    later = own.get_later("/slow")
    wait_until(lambda: own.executions("marker:slow") == 1, "the query is under way")
    own.sql("select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'leeway'")
    assert later.result().status == 200
    assert own.executions("marker:slow") == 2


def test_a_lost_connection_is_not_noticed(own):
    own.start(ROUTES, refresher=False)
    own.get("/items/1")
    own.sql("select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'leeway'")
    assert own.get_many([f"/items/{i}" for i in range(2, 12)])[0].status == 200
    assert own.get("/items/20").status == 200
