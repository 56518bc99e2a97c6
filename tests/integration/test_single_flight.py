# SPDX-License-Identifier: BSD-2-Clause
"""However many ask for a cold key, one query runs."""
import os
import signal

import pytest
from harness import fastcgi, http
from harness.postgres import GATE
from harness.stack import program
from harness.wait import wait_until

pytestmark = pytest.mark.transport

ROUTES = f"""
context "c" {{ budget = 60s }}
route "/items/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select id, name from items, {GATE} where id = $1 -- marker:item"
  shape = object
}}
route "/broken/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select 1 / (id - id) from items, {GATE} where id = $1 -- marker:broken"
  shape = object
}}
"""
PATH = "/items/7"
CROWD = 60


def prepare(stack):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items select i, 'item ' || i from generate_series(1, 100) i")


def waiters(stack):
    """How many processes wait for somebody else's query."""
    client = stack.redis.client()
    return sum(client.pubsub_numsub(channel)[0][1] for channel in client.pubsub_channels())


def test_sixty_requests_of_eight_workers_are_one_query(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False, workers=8)
    with stack.gate():
        crowd = [stack.get_later(PATH) for _ in range(CROWD)]
        wait_until(lambda: stack.executions("marker:item") > 0, "the query is under way")
        wait_until(lambda: waiters(stack) >= 1, "other workers wait for it")
        assert not any(later.done() for later in crowd)
    responses = [later.result() for later in crowd]
    assert [response.status for response in responses] == [200] * CROWD
    assert len({response.body for response in responses}) == 1
    assert len({response.headers["etag"] for response in responses}) == 1
    assert stack.executions("marker:item") == 1
    stored = [response for response in responses if response.cache.endswith("; stored")]
    collapsed = [response for response in responses
                 if response.cache == "leeway; fwd=uri-miss; collapsed"]
    hits = [response for response in responses if response.cache.startswith("leeway; hit")]
    assert len(stored) == 1 and collapsed
    assert len(stored) + len(collapsed) + len(hits) == CROWD
    assert not stack.redis.client().keys("*:lease")


def test_an_expired_key_is_one_query_too(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False, workers=4)
    stack.get(PATH)
    stack.entries.age(60)
    with stack.gate():
        crowd = [stack.get_later(PATH) for _ in range(30)]
        wait_until(lambda: stack.executions("marker:item") == 2, "the query is under way")
        wait_until(lambda: waiters(stack) >= 1, "other workers wait for it")
    assert {later.result().status for later in crowd} == {200}
    assert stack.executions("marker:item") == 2


def test_two_pools_of_one_host_share_a_query(stack):
    prepare(stack)
    stack.configure(ROUTES)
    stack.start_worker()
    second = stack.path("second.sock")
    pool = stack.start_process("second", [program("leeway-worker"), "-c", stack.config,
                                          "-s", "unix:" + second])
    wait_until(lambda: pool.has_children(2), "the second pool is there")
    with stack.gate():
        first = [stack.ask_later(PATH) for _ in range(10)]
        others = [http.Background(lambda: ask_at(second)) for _ in range(10)]
        wait_until(lambda: stack.executions("marker:item") == 1, "the query is under way")
        wait_until(lambda: waiters(stack) >= 1, "the other pool waits")
    assert {later.result()[0] for later in first + others} == {200}
    assert stack.executions("marker:item") == 1


def ask_at(path):
    with fastcgi.Connection(path) as connection:
        return connection.ask(PATH)


def test_other_keys_are_other_flights(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False)
    with stack.gate():
        requests = [stack.get_later(f"/items/{number}") for number in (1, 2, 3)]
        wait_until(lambda: stack.executions("marker:item") == 3, "three queries at once")
    assert [later.result().json()["id"] for later in requests] == [1, 2, 3]


def test_the_crowd_is_told_of_a_failure(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False, workers=4)
    with stack.gate():
        crowd = [stack.get_later("/broken/7") for _ in range(20)]
        wait_until(lambda: stack.executions("marker:broken") > 0, "the query is under way")
        wait_until(lambda: waiters(stack) >= 1, "other workers wait for it")
    responses = [later.result() for later in crowd]
    assert {response.status for response in responses} == {400}
    assert stack.executions("marker:broken") == 1
    assert sum("retry-after" in response.headers for response in responses) == len(crowd) - 1
    # and so are those who come within the next second
    late = stack.get("/broken/7")
    assert late.status == 400 and late.headers["retry-after"] in ("1", "2")
    assert stack.executions("marker:broken") == 1


def test_two_hosts_share_a_query_and_survive_its_leader(stack):
    prepare(stack)
    stack.expect_deaths = True
    stack.configure(ROUTES, workers=1)
    leader = stack.start_worker()
    second = stack.beside("second")
    second.configure(ROUTES, workers=2)
    second.start_worker()
    with stack.gate():
        stack.ask_later(PATH)
        wait_until(lambda: stack.executions("marker:item") == 1, "the query is under way")
        crowd = [second.ask_later(PATH) for _ in range(20)]
        wait_until(lambda: waiters(stack) >= 1, "the second host waits")
        assert stack.executions("marker:item") == 1
        os.kill(leader.children()[0], signal.SIGKILL)
        wait_until(lambda: stack.executions("marker:item") == 2, "a waiter takes over")
    responses = [later.result() for later in crowd]
    assert [status for status, _, _ in responses] == [200] * 20
    assert stack.executions("marker:item") == 2
    assert sum("stored" in headers["cache-status"] for _, headers, _ in responses) == 1


def test_a_purge_during_a_query_refuses_its_result(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False)
    client = stack.redis.client()
    with stack.gate():
        request = stack.get_later(PATH)
        lease = wait_until(lambda: client.keys("*:lease"), "the lease is taken")[0]
        wait_until(lambda: stack.executions("marker:item") == 1, "the query is under way")
        client.delete(lease, lease.replace(":lease", ":entry"))
    response = request.result()
    assert response.status == 200
    assert response.cache == "leeway; fwd=uri-miss; fwd-status=200"
    assert not stack.entries.keys()


def test_a_leader_keeps_its_lease_for_as_long_as_its_query_runs(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False)
    client = stack.redis.client()
    with stack.gate():
        request = stack.get_later(PATH)
        lease = wait_until(lambda: client.keys("*:lease"), "the lease is taken")[0]
        token = client.get(lease)
        wait_until(lambda: client.pttl(lease) < 1500, "the lease grows old")
        wait_until(lambda: client.pttl(lease) > 1800, "the lease is renewed")
        assert client.get(lease) == token
    assert request.result().cache.endswith("; stored")


def test_a_client_that_leaves_does_not_take_the_query_along(stack):
    prepare(stack)
    stack.start(ROUTES, refresher=False)
    with stack.gate():
        with fastcgi.Connection(stack.socket) as first:
            first.send(fastcgi.request(PATH))
            wait_until(lambda: stack.executions("marker:item") == 1, "the query is under way")
        second = stack.get_later(PATH)
    assert second.result().status == 200
    wait_until(stack.entries.keys, "the entry is stored")
    assert stack.executions("marker:item") == 1


def ask_all(hosts, count):
    """As many of each host at once."""
    return [host.ask_later(PATH) for _ in range(count) for host in hosts]


def statuses(crowd):
    return {later.result()[0] for later in crowd}


def gated_crowd(stack, hosts, queries):
    """60 at once while the query is held up; it must be the one that makes `queries`."""
    with stack.gate():
        crowd = ask_all(hosts, CROWD // len(hosts))
        wait_until(lambda: stack.executions("marker:item") == queries, "the query is under way")
        wait_until(lambda: waiters(stack) >= 2, "others wait for it")
    assert statuses(crowd) == {200}
    assert stack.executions("marker:item") == queries


def test_two_pools_and_two_refreshers_share_everything(stack):
    """Cold, in the last tenth of its budget, and past it."""
    prepare(stack)
    hosts = [stack.beside("one"), stack.beside("two")]
    for host in hosts:
        host.configure(ROUTES, workers=4)
        host.start_worker()
        host.start_refresher()
    gated_crowd(stack, hosts, queries=1)

    stack.entries.age(55)
    with stack.gate():
        stale = ask_all(hosts, 20)
        assert {later.result()[1]["cache-status"].split("; ")[-1] for later in stale} == \
            {"detail=stale"}, "40 hits, and none waits"
        wait_until(lambda: stack.executions("marker:item") == 2, "the refresh is under way")
        assert {later.result()[1]["cache-status"].split("; ")[-1]
                for later in ask_all(hosts, 5)} == {"detail=stale"}
    wait_until(lambda: "stale" not in hosts[0].ask(PATH)[1]["cache-status"], "it is refreshed")
    assert stack.executions("marker:item") == 2

    stack.entries.age(60)
    gated_crowd(stack, hosts, queries=3)
    assert not stack.redis.client().keys("*:lease")


def test_leaders_that_die_one_after_another_are_replaced(stack):
    """Each dies with the query under way; each time one waiter of those left takes over."""
    prepare(stack)
    hosts = [stack.beside(name) for name in ("one", "two", "three")]
    for host in hosts:
        host.expect_deaths = True
        host.configure(ROUTES, workers=1)
    for host in hosts:
        host.worker = host.start_worker()
    with stack.gate():
        hosts[0].ask_later(PATH)
        wait_until(lambda: stack.executions("marker:item") == 1, "the first leads")
        hosts[1].ask_later(PATH)
        wait_until(lambda: waiters(stack) == 1, "the second waits")
        os.kill(hosts[0].worker.children()[0], signal.SIGKILL)
        wait_until(lambda: stack.executions("marker:item") == 2, "the second leads")
        crowd = [hosts[2].ask_later(PATH) for _ in range(10)]
        wait_until(lambda: waiters(stack) == 1, "the third waits")
        os.kill(hosts[1].worker.children()[0], signal.SIGKILL)
        wait_until(lambda: stack.executions("marker:item") == 3, "the third leads")
    assert statuses(crowd) == {200}
    assert stack.executions("marker:item") == 3


def waiting_crowd(stack, queries):
    crowd = [stack.ask_later(PATH) for _ in range(20)]
    wait_until(lambda: stack.executions("marker:item") == queries, "the query is under way")
    wait_until(lambda: waiters(stack) >= 1, "others wait for it")
    return crowd


def test_no_wake_up_is_lost_with_its_connection(stack):
    """The connections that bring wake-ups are cut off; once they are back, and before."""
    prepare(stack)
    stack.configure(ROUTES, workers=4)
    stack.start_worker()
    client = stack.redis.client()
    with stack.gate():
        crowd = waiting_crowd(stack, 1)
        client.client_kill_filter(_type="pubsub")
        wait_until(lambda: waiters(stack) >= 1, "they wait again")
    assert statuses(crowd) == {200}
    client.flushall()
    with stack.gate():
        crowd = waiting_crowd(stack, 2)
        client.client_kill_filter(_type="pubsub")
    assert statuses(crowd) == {200}
    assert stack.executions("marker:item") == 2
