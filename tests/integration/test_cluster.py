# SPDX-License-Identifier: BSD-2-Clause
"""A node of a Redis Cluster refuses every command and script whose keys are not of one slot, and
every key that a script makes up by itself. Everything that leeway does passes there."""
import re

from harness import fastcgi
from harness.postgres import GATE
from harness.wait import wait_until

ROUTES = f"""
context "c" {{ budget = 60s }}
route "/items/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select id, name from items, {GATE} where id = $1 -- marker:item"
  shape = object
}}
route "/fails" {{ context = "c"  sql = "select 1 / (id - id) from items"  shape = value }}
route "/large" {{ context = "c"  sql = "select repeat('x', 2000)"  shape = value }}
"""


def start(stack):
    stack.redis.stop()
    stack.redis.start("--cluster-enabled", "yes", "--cluster-config-file",
                      stack.path("nodes.conf"))
    client = stack.redis.client()
    client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    wait_until(lambda: re.search(r"cluster_state\W+ok",
                                 str(client.execute_command("CLUSTER", "INFO"))), "it is up")
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items select i, 'item ' || i from generate_series(1, 9) i")
    stack.configure(ROUTES, settings="max_object = 1kb")
    stack.worker = stack.start_worker()
    stack.refresher = stack.start_refresher()
    return client


def cache_status(stack, uri="/items/7"):
    return stack.ask(uri)[1].get("cache-status", "")


def refusals(stack):
    return [line for process in stack.processes for line in process.log_text().splitlines()
            if "redis refused" in line]


def test_a_cluster_s_node_takes_every_command(stack):
    stack.expect_deaths = True
    client = start(stack)
    with stack.gate():
        crowd = []

        def both_workers_wait():
            crowd.append(stack.ask_later("/items/7"))
            return client.pubsub_channels()
        wait_until(both_workers_wait, "others wait")
    assert {later.result()[0] for later in crowd} == {200}
    assert stack.ask("/fails")[0] == stack.ask("/fails")[0] == 500
    assert [stack.ask("/large")[0] for _ in range(2)] == [200, 200]

    stack.entries.age(55)
    assert cache_status(stack).endswith("detail=stale")
    wait_until(lambda: not cache_status(stack).endswith("detail=stale"), "the refresh")

    stack.entries.age(55)
    with stack.gate():
        # a worker does not ask again for a refresh that it has asked for within the last second
        wait_until(lambda: cache_status(stack) and stack.executions("marker:item") == 3,
                   "the refresh is under way")
        stack.kill_child(stack.refresher)
        wait_until(lambda: stack.executions("marker:item") == 4, "the job was put back")
    wait_until(lambda: not client.keys("{leeway:jobs}:*:processing:*"), "it is done")
    with fastcgi.Connection(stack.socket) as connection:
        assert connection.ask("/metrics")[0] == 200
    assert not refusals(stack)
