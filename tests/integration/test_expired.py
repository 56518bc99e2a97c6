# SPDX-License-Identifier: BSD-2-Clause
"""Past its budget nothing is served but what stale_if_error allows."""
import signal
import time

from harness.wait import wait_until

ROUTES = """
context "c" {{ budget = {budget} }}
context "kept" {{ budget = 1s  stale_if_error = 1h }}
route "/c" {{ context = "c"  sql = "select 1 as n -- marker:c"  shape = value }}
route "/kept" {{ context = "kept"  sql = "select n from t -- marker:kept"  shape = value }}
route "/none" {{ context = "kept"  sql = "select n from t where false -- marker:none"  shape = value }}
"""


def test_dropped_by_redis(stack):
    stack.start(ROUTES.format(budget="1s"), refresher=False)
    stack.get("/c")
    time.sleep(1.1)
    assert not stack.redis.client().keys("*:entry")
    assert stack.get("/c").cache == "leeway; fwd=uri-miss; fwd-status=200; stored"
    assert stack.executions("marker:c") == 2


def test_kept_for_errors(stack):
    stack.sql("create table t as select 1 as n")
    stack.start(ROUTES.format(budget="1s"), refresher=False)
    stack.get("/kept")
    time.sleep(1.1)
    assert stack.get("/kept").cache == "leeway; fwd=stale; fwd-status=200; stored"


def test_an_sql_error_is_not_an_outage(stack):
    stack.sql("create table t as select 1 as n")
    stack.start(ROUTES.format(budget="1s"), refresher=False)
    stack.get("/kept")
    key = stack.redis.client().keys("*:entry")[0]
    before = stack.redis.client().get(key)
    stack.sql("drop table t")
    time.sleep(1.1)
    assert stack.get("/kept").status == 500
    assert stack.redis.client().get(key) == before, "an error never replaces an entry"


def test_a_404_has_no_stale_window(stack):
    stack.sql("create table t as select 1 as n")
    stack.start(ROUTES.format(budget="1s"), refresher=False)
    assert stack.get("/none").cache == "leeway; fwd=uri-miss; fwd-status=404; stored"
    time.sleep(0.2)
    assert stack.get("/none").cache == "leeway; fwd=uri-miss; fwd-status=404; stored"
    assert stack.executions("marker:none") == 2


def test_a_lowered_budget_holds_at_once(stack):
    stack.start(ROUTES.format(budget="1h"), refresher=False)
    stack.get("/c")
    time.sleep(1.1)
    assert "hit" in stack.get("/c").cache
    before = stack.worker.children()
    stack.configure(ROUTES.format(budget="1s"))
    stack.worker.send(signal.SIGHUP)
    wait_until(lambda: not set(stack.worker.children()) & set(before), "replaced")
    assert stack.get("/c").cache == "leeway; fwd=stale; fwd-status=200; stored"
    assert stack.executions("marker:c") == 2
