# SPDX-License-Identifier: BSD-2-Clause
"""A stale hit is answered at once and renewed behind the client's back, once per key."""
import os
import re
import signal
import time

from harness.wait import wait_until

ROUTES = """
context "c" { budget = 20s  refresh_at = 0.05 }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}
route "/slow" {
  context = "c"
  sql = "select 1 as one from pg_sleep(1) -- marker:slow"
  shape = object
}
"""


def make_items(stack):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items values (7, 'old')")


def grow_stale(stack, path):
    """Stores a response and waits until it is stale: after a twentieth of 20 s."""
    assert stack.get(path).status == 200
    time.sleep(1.1)


def jobs(stack):
    return stack.redis.client().lrange("leeway:jobs", 0, -1)


def test_headers_and_refresh(stack):
    make_items(stack)
    stack.start(ROUTES)
    grow_stale(stack, "/items/7")
    stack.sql("update items set name = 'new'")

    stale = stack.get("/items/7")
    assert stale.json() == {"id": 7, "name": "old"}
    ttl = int(re.fullmatch(r"leeway; hit; ttl=(1\d); detail=stale", stale.cache)[1])
    assert stale.control == (f"private, max-age=0, stale-while-revalidate={ttl}, "
                             "stale-if-error=0")

    unchanged = stack.get("/items/7", If_None_Match="*")
    assert unchanged.status == 304

    wait_until(lambda: "detail" not in stack.get("/items/7").cache, "a refreshed hit")
    assert stack.get("/items/7").json() == {"id": 7, "name": "new"}
    assert stack.executions("marker:item") == 2


def test_twenty_stale_hits_add_one_job(stack):
    make_items(stack)
    stack.start(ROUTES, refresher=False)
    grow_stale(stack, "/items/7")
    answers = stack.get_many(["/items/7"] * 20)
    assert all("detail=stale" in answer.cache for answer in answers)
    wait_until(lambda: jobs(stack), "a job")
    # another stale hit, answered after its offer, would have brought a second one
    stack.get("/items/7")
    assert len(jobs(stack)) == 1
    assert stack.executions("marker:item") == 1


def test_stale_hits_do_not_wait_for_the_refresh(stack):
    stack.start(ROUTES)
    grow_stale(stack, "/slow")
    stack.get("/slow")
    wait_until(lambda: stack.executions("marker:slow") == 2, "the refresh is under way")
    assert "detail=stale" in stack.get("/slow").cache
    assert stack.redis.client().keys("*:lease"), "answered while the refresh was under way"


def test_commands_of_the_refresher(stack):
    make_items(stack)
    stack.start(ROUTES)
    grow_stale(stack, "/items/7")
    with stack.redis.monitor() as seen:
        stack.get("/items/7")
        wait_until(lambda: seen.commands("LREM"), "acknowledged")
    lines = [line for line in seen.lines if "items.id" in line or "leeway:jobs" in line]
    order = ["LPUSH leeway:jobs", "NX GET PX 2000",
             " PXAT ", "PUBLISH leeway:{items.id.", "LREM {leeway:jobs}:processing:"]
    at = 0
    for wanted in order:
        while at < len(lines) and wanted not in lines[at]:
            at += 1
        assert at < len(lines), f"{wanted} is missing in {lines}"
    assert not jobs(stack)
    assert not stack.redis.client().keys("*:lease")
    assert not stack.redis.client().keys("*:mark:*")


def test_a_failing_refresh_leaves_the_entry_and_backs_off(stack):
    make_items(stack)
    stack.start(ROUTES)
    grow_stale(stack, "/items/7")
    client = stack.redis.client()
    key = client.keys("*:entry")[0]
    before = client.get(key)
    stack.sql("drop table items")
    stack.get("/items/7")
    failures = key.replace(":entry", "")
    wait_until(lambda: client.get("{leeway:jobs}:failures:" + failures) == "1", "a failure counted")
    wait_until(lambda: client.exists("{leeway:jobs}:mark:" + failures), "held back")
    assert client.pttl("{leeway:jobs}:mark:" + failures) <= 1000
    assert client.get(key) == before
    assert "hit" in stack.get("/items/7").cache
    assert "refresh failed" in stack.refresher.log_text()


def test_jobs_that_mean_nothing_are_dropped(stack):
    make_items(stack)
    stack.start(ROUTES)
    client = stack.redis.client()
    for job in ("garbage", "[]", '[1,0,"no.such.route","0123456789abcdef",[]]',
                '[1,0,"items.id","0123456789abcdef",["7"]]', '[1,0,"items.id","x",[null,"7"]]',
                "\x00\x01"):
        client.lpush("leeway:jobs", job)
    wait_until(lambda: not jobs(stack) and not client.keys("*:processing:*"), "all dropped")
    assert stack.executions("marker:item") == 0
    grow_stale(stack, "/items/7")
    stack.get("/items/7")
    wait_until(lambda: stack.executions("marker:item") == 2, "the refresher goes on")


def test_a_stale_304(stack):
    make_items(stack)
    stack.start(ROUTES, refresher=False)
    grow_stale(stack, "/items/7")
    etag = stack.get("/items/7").headers["etag"]
    answer = stack.get("/items/7", If_None_Match=etag)
    assert (answer.status, answer.body) == (304, b"")
    assert answer.cache.endswith("; detail=stale")
    assert answer.control.startswith("private, max-age=0, stale-while-revalidate=1")


def test_the_job_of_a_killed_refresher_is_done_by_another(stack):
    stack.expect_deaths = True
    stack.start(ROUTES)
    grow_stale(stack, "/slow")
    stack.get("/slow")
    wait_until(lambda: stack.executions("marker:slow") == 2, "the refresh is under way")
    os.kill(stack.refresher.children()[0], signal.SIGKILL)
    wait_until(lambda: stack.executions("marker:slow") == 3, "done anew")
    wait_until(lambda: not stack.redis.client().keys("*:processing:*"), "acknowledged")
