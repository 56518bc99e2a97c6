# SPDX-License-Identifier: BSD-2-Clause
"""A stale hit is served at once and renewed behind the client's back."""
import json
import os
import re
import signal

import pytest
from harness.postgres import GATE
from harness.wait import wait_until

pytestmark = pytest.mark.transport

ROUTES = """
context "c" { budget = 60s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}
"""
GATED = f"""
route "/items/{{id}}" {{
  param "id" {{ type = int }}
  sql = "select id, name from items, {GATE} where id = $1 -- marker:item"
  shape = object
}}
"""
STALE_S = 55


def start(stack, routes=ROUTES, **options):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items values (7, 'old')")
    return stack.start(routes, **options)


def queue_keys(stack, kind):
    return stack.redis.client().keys("{leeway:jobs}:*:" + kind + ":*")


def in_hand(stack):
    return queue_keys(stack, "processing")


def is_fresh(response):
    return bool(re.fullmatch(r"leeway; hit; ttl=\d+", response.cache))


def ask_until_fresh(stack, path="/items/7"):
    def ask():
        response = stack.get(path)
        return response if is_fresh(response) else None
    return wait_until(ask, "a fresh hit")


def test_twenty_stale_hits_add_one_job(stack):
    start(stack, refresher=False)
    stack.get("/items/7")
    stack.entries.age(STALE_S)
    responses = stack.get_many(["/items/7"] * 20)
    for response in responses:
        assert response.json()["name"] == "old"
        assert re.fullmatch(r"leeway; hit; ttl=[1-5]; detail=stale", response.cache)
        assert re.fullmatch(
            r"private, max-age=0, stale-while-revalidate=[1-5], stale-if-error=0",
            response.control)
    # what a worker still had to do after its answers, it has done when it has stopped
    assert stack.worker.stop() == 0
    jobs = stack.redis.client().lrange(stack.jobs(), 0, -1)
    assert len(jobs) == 1
    version, _, route, fingerprint, values = json.loads(jobs[0])
    assert (version, route, values) == (1, "items.id", ["7"])
    assert stack.entries.only().key == f"leeway:{{{route}.{fingerprint}:=7}}:entry"
    assert stack.executions("marker:item") == 1


def test_the_refresher_renews_the_entry(stack):
    start(stack)
    stack.get("/items/7")
    stack.sql("update items set name = 'new'")
    assert stack.get("/items/7").json()["name"] == "old"
    stack.entries.age(STALE_S)
    with stack.redis.monitor() as seen:
        stale = stack.get("/items/7")
        assert stale.json()["name"] == "old" and "detail=stale" in stale.cache
        wait_until(lambda: stack.entries.only().body.find("new") >= 0, "the entry is new")
        wait_until(lambda: not in_hand(stack), "the job is settled")
    fresh = stack.get("/items/7")
    assert is_fresh(fresh) and fresh.json()["name"] == "new"
    assert stack.executions("marker:item") == 2
    assert stack.redis.client().llen(stack.jobs()) == 0
    assert not queue_keys(stack, "mark")

    base = stack.entries.only().key[:-len(":entry")]
    lease = next(at for at, line in enumerate(seen.lines)
                 if line.startswith(f"SET {base}:lease ") and " NX " in line)
    store = next(at for at, line in enumerate(seen.lines)
                 if line.upper().startswith(f"SET {base}:entry ".upper()) and "PXAT" in line)
    settled = next(at for at, line in enumerate(seen.lines)
                   if line.upper().startswith("LREM {LEEWAY:JOBS}:") and ":PROCESSING:" in line.upper())
    assert any(line.startswith(f"BLMOVE {stack.jobs()} ") for line in seen.lines)
    told = next(at for at, line in enumerate(seen.lines)
                if line.upper().startswith(f"PUBLISH {base}:done".upper()))
    assert lease < store < told < settled
    assert not stack.redis.client().keys("*:lease")


def test_the_new_entry_expires_a_budget_after_its_own_snapshot(stack):
    start(stack)
    stack.get("/items/7")
    first = stack.entries.only()
    stack.entries.age(STALE_S)
    ask_until_fresh(stack)
    renewed = stack.entries.only()
    assert renewed.snapshot_us > first.snapshot_us
    expiry_ms = stack.redis.client().pexpiretime(renewed.key)
    assert abs(expiry_ms - (renewed.snapshot_us // 1000 + 60000)) <= 1


def test_a_failing_refresh_leaves_the_entry_and_backs_off(stack):
    start(stack)
    stack.get("/items/7")
    stack.entries.age(STALE_S)
    client = stack.redis.client()
    entry = stack.entries.only()
    before = client.get(entry.key)
    stack.sql("alter table items rename to hidden")
    assert stack.get("/items/7").status == 200
    failures = wait_until(lambda: queue_keys(stack, "failures"), "the failure is counted")
    assert client.get(failures[0]) == "1"
    wait_until(lambda: not in_hand(stack), "the job is gone")
    assert client.get(entry.key) == before
    wait_until(lambda: client.pttl(queue_keys(stack, "mark")[0]) <= 1000, "the back-off is set")

    stack.sql("alter table hidden rename to items")
    stack.sql("update items set name = 'new'")
    assert ask_until_fresh(stack).json()["name"] == "new"
    assert not queue_keys(stack, "failures")
    assert "refresh failed" in stack.refresher.log_text()


def test_jobs_that_nobody_knows_are_dropped(stack):
    start(stack)
    stack.get("/items/7")
    fingerprint = stack.entries.only().key.split(".")[-1].split(":")[0]
    stack.entries.age(STALE_S)
    client = stack.redis.client()
    for job in ('[1,1795435200123,"no.such.route","0123456789abcdef",["7"]]',
                '[1,1795435200123,"items.id","0123456789abcdef",["7"]]',
                f'[1,1795435200123,"items.id","{fingerprint}",["7","8"]]',
                f'[1,1795435200123,"items.id","{fingerprint}",["seven"]]',
                f'[1,1795435200123,"items.id","{fingerprint}",["8"]]',
                f'[2,1795435200123,"items.id","{fingerprint}",["7"]]',
                "", "[", "\x00\xff" * 50, "[" * 5000):
        client.lpush(stack.jobs(), job)
    wait_until(lambda: client.llen(stack.jobs()) == 0 and not in_hand(stack), "all jobs are dropped")
    assert stack.executions("marker:item") == 1
    # and those that are known are done as before
    client.lpush(stack.jobs(), f'[1,1795435200123,"items.id","{fingerprint}",["7"]]')
    wait_until(lambda: stack.executions("marker:item") == 2, "the job is done")
    assert "dropped" in stack.get("/metrics").body.decode()


def test_a_job_whose_entry_is_fresh_is_dropped(stack):
    start(stack)
    stack.get("/items/7")
    fingerprint = stack.entries.only().key.split(".")[-1].split(":")[0]
    client = stack.redis.client()
    client.lpush(stack.jobs(), f'[1,1795435200123,"items.id","{fingerprint}",["7"]]')
    wait_until(lambda: client.llen(stack.jobs()) == 0 and not in_hand(stack), "the job is dropped")
    assert stack.executions("marker:item") == 1


def test_the_job_of_a_killed_refresher_is_done_by_another(stack):
    stack.expect_deaths = True
    start(stack, GATED)
    stack.get("/items/7")
    stack.sql("update items set name = 'new'")
    stack.entries.age(STALE_S)
    with stack.gate():
        stack.get("/items/7")
        wait_until(lambda: stack.executions("marker:item") == 2, "the refresh is under way")
        assert len(in_hand(stack)) == 1
        os.kill(stack.refresher.children()[0], signal.SIGKILL)
        os.kill(stack.refresher.pid, signal.SIGKILL)
        stack.start_refresher(name="successor")
        wait_until(lambda: stack.executions("marker:item") == 3, "another does the job")
    assert ask_until_fresh(stack).json()["name"] == "new"
    wait_until(lambda: not in_hand(stack), "nothing is left in hand")


def test_the_job_of_a_killed_child_is_done_by_its_successor(stack):
    stack.expect_deaths = True
    start(stack, GATED)
    stack.get("/items/7")
    stack.entries.age(STALE_S)
    with stack.gate():
        stack.get("/items/7")
        wait_until(lambda: stack.executions("marker:item") == 2, "the refresh is under way")
        stack.kill_child(stack.refresher)
        wait_until(lambda: stack.executions("marker:item") == 3, "the job is done anew")
    wait_until(lambda: not in_hand(stack), "nothing is left in hand")


def test_stale_hits_do_not_wait_for_the_refresh(stack):
    start(stack, GATED)
    stack.get("/items/7")
    stack.entries.age(STALE_S)
    with stack.gate():
        for _ in range(3):
            assert "detail=stale" in stack.get("/items/7").cache
        wait_until(lambda: stack.executions("marker:item") == 2, "the refresh is under way")
        assert "detail=stale" in stack.get("/items/7").cache
    ask_until_fresh(stack)


def test_a_full_queue_takes_no_more(stack):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items select i, 'x' from generate_series(1, 5) i")
    stack.start(ROUTES, refresher=False, redis="queue_limit = 3")
    paths = [f"/items/{number}" for number in range(1, 6)]
    stack.get_many(paths)
    stack.entries.age(STALE_S)
    assert all("detail=stale" in response.cache for response in stack.get_many(paths))
    stack.worker.stop()
    assert stack.redis.client().llen(stack.jobs()) == 3


def test_the_refresher_finishes_its_job_when_told_to_stop(stack):
    start(stack, GATED)
    stack.get("/items/7")
    stack.entries.age(STALE_S)
    with stack.gate():
        stack.get("/items/7")
        wait_until(lambda: stack.executions("marker:item") == 2, "the refresh is under way")
        stack.refresher.send(signal.SIGTERM)
    assert stack.refresher.wait() == 0
    assert is_fresh(stack.get("/items/7"))
    assert not in_hand(stack) and stack.redis.client().llen(stack.jobs()) == 0


def test_the_refresher_checks_its_configuration(stack):
    stack.configure(ROUTES)
    checked = stack.run("leeway-refresher", "-t", "-c", stack.config)
    assert checked.returncode == 0
    assert checked.stdout == f"{stack.config}: configuration ok\n"


def test_a_job_in_a_list_that_no_set_names_is_found(stack):
    """The set of refreshers was lost along with them, and many keys lie about."""
    start(stack)
    client = stack.redis.client()
    stack.get("/items/7")
    client.mset({f"filler:{number}": "" for number in range(9000)})
    fingerprint = stack.entries.only().key.split(".")[-1].split(":")[0]
    job = f'[1,1795435200123,"items.id","{fingerprint}",["7"]]'
    stack.sql("update items set name = 'new'")
    stack.entries.age(STALE_S)
    lost = stack.jobs("processing:long-gone")
    client.lpush(lost, job)
    wait_until(lambda: not client.exists(lost), "it is found")
    assert ask_until_fresh(stack).json()["name"] == "new"
    assert stack.executions("marker:item") == 2
