# SPDX-License-Identifier: BSD-2-Clause
"""A budget of 0 is strict consistency: no entry, no lease, no sharing of queries."""
from harness.postgres import GATE
from harness.wait import wait_until

ROUTES = f"""
context "ledger" {{ budget = 0s }}
route "/balance/{{id}}" {{
  context = "ledger"
  param "id" {{ type = int }}
  sql = "select id, amount from balances where id = $1 -- marker:balance"
  shape = object
}}
route "/gated" {{
  context = "ledger"
  sql = "select 1 as one from {GATE} -- marker:gated"
  shape = value
}}
"""


def start(stack, **options):
    stack.sql("create table balances (id int primary key, amount numeric)")
    stack.sql("insert into balances values (1, 10.50)")
    return stack.start(ROUTES, refresher=False, **options)


def test_each_answer_is_the_database_s(stack):
    start(stack)
    for amount in ("10.50", "11.50", "12.50"):
        stack.sql("update balances set amount = %s", amount)
        response = stack.get("/balance/1")
        assert response.status == 200
        assert response.body == b'{"id":1,"amount":' + amount.encode() + b"}"
        assert response.cache == "leeway; fwd=bypass; detail=no-budget"
        assert response.control == "no-store"
    assert stack.executions("marker:balance") == 3


def test_redis_holds_nothing_and_is_not_asked(stack):
    start(stack)
    with stack.redis.monitor() as seen:
        assert stack.get("/balance/1").status == 200
        assert stack.get("/balance/9").status == 404
        seen.settle()
        assert not [line for line in seen.lines if "balance" in line]
    assert stack.entries.keys() == [] and not stack.redis.client().keys("*:lease")


def test_a_404_is_not_stored_either(stack):
    start(stack)
    missing = stack.get("/balance/2")
    assert (missing.status, missing.control) == (404, "no-store")
    stack.sql("insert into balances values (2, 1)")
    assert stack.get("/balance/2").status == 200


def test_concurrent_requests_do_not_share_a_query(stack):
    start(stack)
    with stack.gate():
        requests = [stack.get_later("/gated") for _ in range(3)]
        wait_until(lambda: stack.executions("marker:gated") == 3, "three queries at once")
    assert [later.result().status for later in requests] == [200] * 3


def test_it_needs_no_redis(stack):
    start(stack)
    stack.redis.stop()
    response = stack.get("/balance/1")
    assert response.status == 200
    assert response.cache == "leeway; fwd=bypass; detail=no-budget"
