# SPDX-License-Identifier: BSD-2-Clause
"""A response over max_object is served whole and not kept."""
from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/text/{n}" {
  context = "c"
  param "n" { type = int }
  sql = "select repeat('x', $1::int) as t -- marker:text"
  shape = value
}
"""
LIMIT = 1024


def start(stack, **options):
    return stack.start(ROUTES, settings="max_object = 1kb", **options)


def check_bypass(response, size):
    assert response.status == 200
    assert response.body == b'"' + b"x" * size + b'"'
    assert response.headers["content-length"] == str(size + 2)
    assert response.cache == "leeway; fwd=bypass; detail=too-large"
    assert response.control == "private, no-cache"


def test_the_limit_itself_is_cached(stack):
    start(stack, refresher=False)
    assert stack.get(f"/text/{LIMIT - 2}").cache.endswith("; stored")
    assert stack.get(f"/text/{LIMIT - 2}").cache.startswith("leeway; hit")


def test_one_byte_more_is_not(stack):
    start(stack, refresher=False)
    check_bypass(stack.get(f"/text/{LIMIT - 1}"), LIMIT - 1)
    check_bypass(stack.get(f"/text/{LIMIT - 1}"), LIMIT - 1)
    assert stack.executions("marker:text") == 2
    assert not stack.entries.keys()
    # the marker that lets requests run without a lease
    client = stack.redis.client()
    assert client.get(client.keys("*:lease")[0]) == "!too-large"


def test_several_megabytes_arrive_whole(stack):
    start(stack, refresher=False)
    check_bypass(stack.get("/text/5000000"), 5000000)


def test_a_head_request_for_it(stack):
    start(stack, refresher=False)
    status, headers, body = stack.ask("/text/3000", method="HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", "3002")


def test_an_entry_that_grew_too_large_is_not_replaced_by_a_refresh(stack):
    stack.sql("create table texts as select 'short' as t")
    stack.start("""
context "c" { budget = 60s }
route "/t" { context = "c"  sql = "select t from texts -- marker:t"  shape = value }
""", settings="max_object = 1kb")
    stack.get("/t")
    stack.entries.age(55)
    before = stack.redis.client().get(stack.entries.only().key)
    stack.sql("update texts set t = repeat('x', 2000)")
    assert stack.get("/t").json() == "short"
    wait_until(lambda: stack.redis.client().keys("{leeway:jobs}:failures:*"), "the refresh fails")
    assert stack.redis.client().get(stack.entries.only().key) == before
