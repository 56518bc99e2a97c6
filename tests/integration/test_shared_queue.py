# SPDX-License-Identifier: BSD-2-Clause
"""Several configurations over one Redis and prefix: each refreshes its own, and nothing of others."""
import json
import os
import signal

from harness.postgres import GATE
from harness.wait import wait_until

COUNT = 20
STALE_S = 55


def routes(name, budget="60s", more=""):
    return f"""
context "c" {{ budget = {budget} }}
route "/{name}/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select id, n from items{more} where id = $1 -- marker:{name}"
  shape = object
}}
"""


def host(stack, text, workers=1, refresher=True):
    """Worker and refresher of a host, asked directly."""
    stack.configure(text, workers=workers)
    stack.start_worker()
    if refresher:
        stack.refresher = stack.start_refresher()
    return stack


def make_items(stack):
    stack.sql("create table items (id int primary key, n int)")
    stack.sql(f"insert into items select i, 0 from generate_series(1, {COUNT}) i")


def ask_all(stack, name):
    for number in range(1, COUNT + 1):
        status, headers, _ = stack.ask(f"/{name}/{number}")
        assert status == 200
        yield headers["cache-status"]


def lists(stack):
    return stack.redis.client().keys("{leeway:jobs}:*:list")


def await_refreshed(stack, *names):
    """Each key, by one query beside that of its miss."""
    wait_until(lambda: all(stack.executions(f"marker:{name}") == 2 * COUNT for name in names),
               "all are refreshed")


def test_two_applications_with_the_default_prefix_refresh_all_their_keys(stack):
    make_items(stack)
    first = host(stack, routes("a"))
    second = host(stack.beside("second"), routes("b"))
    assert not any("detail" in cache for cache in [*ask_all(first, "a"), *ask_all(second, "b")])
    stack.entries.age(STALE_S)
    assert all("detail=stale" in cache for cache in [*ask_all(first, "a"), *ask_all(second, "b")])
    await_refreshed(stack, "a", "b")


def test_beside_a_longer_budget_all_keys_are_refreshed(stack):
    """As during a deploy, of which the old side takes for fresh what the new one wants renewed."""
    make_items(stack)
    host(stack, routes("a", budget="10m"))
    new = host(stack.beside("new"), routes("a"))
    assert all("fwd" in cache for cache in ask_all(new, "a"))
    stack.entries.age(STALE_S)
    assert all("detail=stale" in cache for cache in ask_all(new, "a"))
    await_refreshed(stack, "a")


def test_a_list_that_nobody_takes_from_ends_and_is_counted(stack):
    make_items(stack)
    alone = host(stack.beside("alone"), routes("a", budget="3s"), refresher=False)
    host(stack, routes("b"))
    client = stack.redis.client()

    def is_stale():
        return "detail=stale" in alone.ask("/a/1")[1]["cache-status"]
    wait_until(is_stale, "a stale hit")
    abandoned, = wait_until(lambda: lists(stack), "a job is offered")
    wait_until(lambda: abandoned not in lists(stack), "the list ends")
    marks = "{leeway:jobs}:*:mark:*"
    wait_until(lambda: not client.keys(marks), "its marks end")
    text = stack.ask("/metrics")[2].decode()
    assert "\nleeway_jobs_abandoned_total 1\n" in text
    assert stack.logs().count("nobody took refresh jobs") == 1
    # what remains is bounded in time
    assert all(client.pttl(key) > 0 for key in client.keys("{leeway:jobs}*")
               if not key.endswith(":abandoned"))
    wait_until(is_stale, "another stale hit")
    wait_until(lambda: lists(stack), "it offers anew")


def test_what_a_refresher_of_another_configuration_had_in_hand_ends(stack):
    """It lost its power when Redis had moved the job, and nobody of its configuration is left."""
    make_items(stack)
    host(stack, routes("a"))
    client = stack.redis.client()
    lost = "{leeway:jobs}:0123456789abcdef:processing:long-gone"
    client.lpush(lost, "job")
    client.lpush(lost + "-2", "job")
    client.pexpire(lost + "-2", 100 * 1000)
    wait_until(lambda: client.pttl(lost) > 0, "it has an expiry")
    # one that has a time keeps it
    assert 0 < client.pttl(lost + "-2") <= 100 * 1000
    assert client.lrange(lost, 0, -1) in (["job"], [b"job"])


def test_names_of_lists_that_are_none_hold_nothing_up(stack):
    make_items(stack)
    alone = host(stack.beside("alone"), routes("a", budget="3s"), refresher=False)
    host(stack, routes("b"))
    client = stack.redis.client()
    client.zadd("{leeway:jobs}:lists", {"wrong": 1, "zero\0byte": 1, "": 1})
    client.set("{leeway:jobs}:wrong:list", "text", px=60000)
    wait_until(lambda: "detail=stale" in alone.ask("/a/1")[1]["cache-status"], "a stale hit")
    # the offer follows the answer
    wait_until(lambda: client.get("{leeway:jobs}:abandoned") == "1", "its job is counted")
    wait_until(lambda: not client.zrange("{leeway:jobs}:lists", 0, -1), "all have ended")


def test_what_others_queue_is_shown_and_left_alone(stack):
    make_items(stack)
    other = host(stack.beside("other"), routes("a"), refresher=False)
    host(stack, routes("b"))
    list(ask_all(other, "a"))
    stack.entries.age(STALE_S)
    list(ask_all(other, "a"))
    wait_until(lambda: sum(stack.redis.client().llen(key) for key in lists(stack)) == COUNT,
               "all are offered")
    said = stack.run("leewayctl", "-c", stack.config, "queue")
    assert said.returncode == 0, said.stderr
    assert "waiting     0\n" in said.stdout
    assert f"other lists 1, with {COUNT} jobs\n" in said.stdout
    seen = json.loads(other.run("leewayctl", "-c", other.config, "queue", "--json").stdout)
    assert seen["waiting"] == COUNT and seen["other_lists"] == {"count": 0, "waiting": 0}


def test_jobs_of_the_last_release_are_left_alone(stack):
    make_items(stack)
    host(stack, routes("a"))
    client = stack.redis.client()
    old = {"leeway:jobs": '[1,1,"a.id","0123456789abcdef",["1"]]',
           "{leeway:jobs}:processing:old": '[1,1,"a.id","0123456789abcdef",["2"]]'}
    for key, job in old.items():
        client.lpush(key, job)
    client.sadd("{leeway:jobs}:refreshers", "old")
    list(ask_all(stack, "a"))
    stack.entries.age(STALE_S)
    list(ask_all(stack, "a"))
    await_refreshed(stack, "a")
    assert all(client.lrange(key, 0, -1) == [job] for key, job in old.items())


def test_a_job_that_kills_its_refresher_is_set_aside(stack):
    stack.expect_deaths = True
    make_items(stack)
    host(stack, routes("a", more=f", {GATE}"))
    client = stack.redis.client()
    stack.ask("/a/1")
    stack.entries.age(STALE_S)
    with stack.gate():
        assert "detail=stale" in stack.ask("/a/1")[1]["cache-status"]
        for deaths in range(1, 4):
            wait_until(lambda: stack.executions("marker:a") == 1 + deaths, "the refresh begins")
            child = stack.refresher.children()[0]
            os.kill(child, signal.SIGKILL)
            # it is found dead at once
            wait_until(lambda: child not in stack.refresher.children(), "it has died")
            for key in client.keys(f"{{leeway:jobs}}:*:alive:*-{child}-*") + client.keys("*:lease"):
                client.delete(key)
        wait_until(lambda: "was set aside" in stack.refresher.log_text(), "it is set aside")
        said = stack.run("leewayctl", "-c", stack.config, "queue")
        assert "set aside   1\n" in said.stdout and "  a.id 1" in said.stdout
        # another hit's offer is kept back
        mark, = client.keys("{leeway:jobs}:*:mark:*")
        assert client.pttl(mark) > 60000
        assert not lists(stack)
    assert stack.executions("marker:a") == 4
    assert 'result="set-aside"} 1\n' in stack.ask("/metrics")[2].decode()


def test_so_is_one_whose_response_is_gone_before_it_is_put_back(stack):
    """Of a short budget: each time there is a new job for the key."""
    stack.expect_deaths = True
    make_items(stack)
    host(stack, routes("a", budget="20s", more=f", {GATE}"))
    client = stack.redis.client()
    for deaths in range(1, 4):
        stack.ask("/a/1")
        stack.entries.age(18.5)
        with stack.gate():
            assert "detail=stale" in stack.ask("/a/1")[1]["cache-status"]
            wait_until(lambda: stack.executions("marker:a") == 2 * deaths,  # pylint: disable=W0640
                       "the refresh begins")
            child = stack.refresher.children()[0]
            os.kill(child, signal.SIGKILL)
            wait_until(lambda: child not in stack.refresher.children(),  # pylint: disable=W0640
                       "it has died")
            for key in client.keys("leeway:{a.*"):
                client.delete(key)  # its time is over
            for key in client.keys(f"{{leeway:jobs}}:*:alive:*-{child}-*"):
                client.delete(key)
        wait_until(lambda: not client.keys("{leeway:jobs}:*:processing:*") and not lists(stack),
                   "the job is put back, and dropped")
    wait_until(lambda: "was set aside" in stack.refresher.log_text(), "it is set aside")
