# SPDX-License-Identifier: BSD-2-Clause
"""Large responses: what is over max_object is served and not stored; the rest goes out whole."""
from harness import fastcgi
from harness.wait import wait_until

ROUTES = """
route "/text/{n}" {
  param "n" { type = int }
  sql = "select repeat('x', $1::int) as t -- marker:text"
  shape = object
}
"""

BODY_OF = b'{"t":"%s"}'


def test_over_max_object(stack):
    stack.start(ROUTES, settings="max_object = 1kb", refresher=False)
    for _ in range(3):
        answer = stack.get("/text/2000")
        assert answer.status == 200
        assert answer.body == BODY_OF % (b"x" * 2000)
        assert answer.cache == "leeway; fwd=bypass; detail=too-large"
        assert answer.control == "private, no-cache"
    client = stack.redis.client()
    assert not client.keys("*:entry")
    assert client.get(client.keys("*:lease")[0]) == "!too-large"
    assert stack.get("/text/10").cache.endswith("stored")


def test_large_ones_go_out_whole(stack):
    stack.start(ROUTES, refresher=False)
    for size in (8000, 65500, 65528, 65529, 131072, 900000):
        for _ in range(2):
            answer = stack.get(f"/text/{size}")
            assert answer.body == BODY_OF % (b"x" * size), size
    assert "hit" in answer.cache


def test_a_slow_reader_holds_up_nobody(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    stack.ask("/text/900000")
    slow = [fastcgi.Connection(stack.socket) for _ in range(20)]
    for connection in slow:
        connection.send(fastcgi.request("/text/900000"))
        connection.take(1)
        # the rest of the record it begins with stays in the buffer
        connection.buffer = b"\x01" + connection.buffer
    assert stack.ask("/text/10")[0] == 200
    for connection in slow:
        status, _, body = connection.read_answer()
        assert (status, body) == (200, BODY_OF % (b"x" * 900000))
        connection.close()


def test_slow_readers_share_what_was_computed_for_them(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    slow = [fastcgi.Connection(stack.socket) for _ in range(5)]
    for connection in slow:
        connection.send(fastcgi.request("/text/900001"))
    # all of them are being answered from the one fill, whose memory has been given up since
    wait_until(lambda: stack.redis.client().keys("*:entry"), "stored")
    assert "hit" in stack.ask("/text/900001")[1]["cache-status"]
    slow.pop().close()
    for connection in slow:
        status, _, body = connection.read_answer()
        assert (status, body) == (200, BODY_OF % (b"x" * 900001))
        connection.close()
    assert stack.executions("marker:text") == 1


def test_a_reader_that_stops_is_cut_off(stack):
    stack.configure(ROUTES, settings="client_timeout = 300ms")
    stack.start_worker("-n", "1")
    with fastcgi.Connection(stack.socket) as connection:
        connection.send(fastcgi.request("/text/900000"))
        connection.take(1)
        stack.ask("/text/10")
        assert connection.is_closed()
