# SPDX-License-Identifier: BSD-2-Clause
"""A response over max_object is served whole and not kept."""
from harness import fastcgi
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


def test_sizes_around_a_record_s(stack):
    stack.start(ROUTES, refresher=False)
    for size in (8180, 65500, 65526, 65527, 65533, 131070, 900000):
        miss, hit = stack.get(f"/text/{size}"), stack.get(f"/text/{size}")
        assert miss.body == hit.body == b'"' + b"x" * size + b'"'
        assert hit.cache.startswith("leeway; hit")


def test_slow_readers_share_what_was_computed_for_them(stack):
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    slow = [fastcgi.Connection(stack.socket) for _ in range(5)]
    for connection in slow:
        connection.send(fastcgi.request("/text/900001"))
    # all of them are being answered from the one fill, whose memory has been given up since
    wait_until(lambda: stack.redis.client().keys("*:entry"), "stored")
    assert "hit" in stack.ask("/text/900001")[1]["cache-status"]
    slow.pop().close()
    for connection in slow:
        status, _, body = connection.read_answer()
        assert (status, body) == (200, b'"' + b"x" * 900001 + b'"')
        connection.close()
    assert stack.executions("marker:text") == 1


def test_a_reader_that_stops_is_cut_off(stack):
    stack.configure(ROUTES, workers=1, settings="client_timeout = 300ms")
    stack.start_worker()
    with fastcgi.Connection(stack.socket) as connection:
        connection.send(fastcgi.request("/text/900000"))
        connection.take(1)
        assert stack.ask("/text/10")[0] == 200
        # a new connection that says nothing is cut off no sooner
        with fastcgi.Connection(stack.socket) as silent:
            assert silent.is_closed()
        assert connection.is_closed()
        assert len(connection.buffer) < 900000


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
    wait_until(lambda: stack.redis.client().keys("{leeway:jobs}:*:failures:*"), "the refresh fails")
    assert stack.redis.client().get(stack.entries.only().key) == before
