# SPDX-License-Identifier: BSD-2-Clause
"""Whatever bytes come, the worker lives, and nobody else is held up."""
import struct

import pytest

from harness import fastcgi
from harness.fastcgi import (BEGIN_REQUEST, GET_VALUES, GET_VALUES_RESULT, PARAMS, STDIN, begin,
                             length, pairs, record, stream, variables_for)
from harness.wait import wait_until

ROUTES = """
route "/one" { sql = "select 1 as n"  shape = value }
route "/echo/{t}" { param "t" { type = text } sql = "select $1 as t -- marker:echo"  shape = value }
route "/slow" { sql = "select 1 as n from pg_sleep(1) -- marker:slow"  shape = value }
"""

GOOD = stream(PARAMS, pairs(variables_for("/one")))
CLOSED = "closed"

INPUTS = {
    "garbage": (b"\xff" * 100, CLOSED),
    "http": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", CLOSED),
    "version 0": (b"\0" + begin()[1:], CLOSED),
    "short begin": (record(BEGIN_REQUEST, b"\0\1"), CLOSED),
    "other role": (begin(role=2), CLOSED),
    "begin with id 0": (begin(request_id=0), CLOSED),
    "no begin": (GOOD, CLOSED),
    "another id": (begin() + stream(PARAMS, pairs(variables_for("/one")), 2), CLOSED),
    "stdin first": (begin() + record(STDIN, b"x"), CLOSED),
    "unknown type": (begin() + record(77, b"x"), CLOSED),
    "name cut off": (begin() + stream(PARAMS, b"\x05\x05abc") + stream(STDIN, b""), CLOSED),
    "huge lengths": (begin() + stream(PARAMS, b"\xff\xff\xff\xff\xff\xff\xff\xffx") +
                     stream(STDIN, b""), CLOSED),
    "overflowing lengths": (begin() + stream(PARAMS, struct.pack("!II", 0x7fffffff | 1 << 31,
                                                                 0x80000001) + b"x" * 64) +
                            stream(STDIN, b""), CLOSED),
    "begin twice": (begin() + begin(), CLOSED),
    "no method": (begin() + stream(PARAMS, pairs({"A": "b"})) + stream(STDIN, b""), 405),
    "no parameters": (begin() + stream(PARAMS, b"") + stream(STDIN, b""), 405),
    "70 kB of parameters": (begin() + stream(PARAMS, pairs({"A": "b" * 70000})), 431),
    "10,000 parameters": (begin() + stream(PARAMS, pairs({f"N{i}": "v" for i in range(10000)})),
                          431),
    "1 MB of URL": (begin() + stream(PARAMS, pairs(variables_for("/" + "u" * 1000000))), 431),
    "9 kB of URL": (fastcgi.request("/" + "u" * 9000), 414),
    "70 kB of body": (fastcgi.request("/one", stdin=b"b" * 70000), 413),
    "a body": (fastcgi.request("/one", stdin=b"b" * 1000), 200),
    "padding": (begin() + record(PARAMS, pairs(variables_for("/one")), padding=255) +
                record(PARAMS) + record(STDIN, padding=7), 200),
}


@pytest.fixture(name="worker")
def start_one_worker(stack):
    stack.configure(ROUTES)
    worker = stack.start_worker("-n", "1")
    child = worker.children()
    yield worker
    assert worker.children() == child, "it was replaced"
    assert stack.ask("/one")[0] == 200


@pytest.mark.usefixtures("worker")
def test_inputs(stack):
    for name, (data, outcome) in INPUTS.items():
        with fastcgi.Connection(stack.socket) as connection:
            try:
                connection.send(data)
            except ConnectionError:
                assert outcome == CLOSED, name
                continue
            if outcome == CLOSED:
                assert connection.is_closed(), name
            else:
                assert connection.read_answer()[0] == outcome, name
        assert stack.ask("/one")[0] == 200, name


@pytest.mark.usefixtures("worker")
def test_values_that_are_asked_for(stack):
    names = {"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": "", "FCGI_MPXS_CONNS": "", "OTHER": ""}
    for asked in (pairs(names), pairs({"FCGI_MPXS_CONNS": ""}) * 12, b""):
        with fastcgi.Connection(stack.socket) as connection:
            connection.send(record(GET_VALUES, asked, request_id=0))
            kind, request_id, content = connection.read_record()
            assert (kind, request_id) == (GET_VALUES_RESULT, 0)
            if asked:
                assert length(15) + length(1) + b"FCGI_MPXS_CONNS0" in content
            # and a request may follow
            assert connection.ask("/one")[0] == 200


@pytest.mark.usefixtures("worker")
def test_in_pieces(stack):
    data = fastcgi.request("/echo/x", keep=True)
    with fastcgi.Connection(stack.socket) as connection:
        for i in range(len(data)):
            connection.send(data[i:i + 1])
        assert connection.read_answer()[0] == 200
        connection.send(data[:20])
        connection.send(data[20:])
        assert connection.read_answer()[0] == 200


@pytest.mark.usefixtures("worker")
def test_several_at_once_on_a_kept_connection(stack):
    with fastcgi.Connection(stack.socket) as connection:
        connection.send(b"".join(fastcgi.request(f"/echo/{i}", keep=True) for i in range(20)))
        for i in range(20):
            status, _, body = connection.read_answer()
            assert (status, body) == (200, b'"%d"' % i)


@pytest.mark.usefixtures("worker")
def test_silent_and_half_sent(stack):
    half = fastcgi.request("/one")[:30]
    others = [fastcgi.Connection(stack.socket) for _ in range(60)]
    for connection in others[30:]:
        connection.send(half)
    for _ in range(20):
        assert stack.ask("/one")[0] == 200
    for connection in others:
        connection.close()


def test_who_stays_silent_is_cut_off(stack):
    stack.configure(ROUTES, settings="client_timeout = 300ms")
    stack.start_worker("-n", "1")
    with fastcgi.Connection(stack.socket) as silent, fastcgi.Connection(stack.socket) as half, \
            fastcgi.Connection(stack.socket) as kept:
        half.send(fastcgi.request("/one")[:30])
        assert kept.ask("/one", keep=True)[0] == 200
        assert silent.is_closed()
        assert half.is_closed()
        # a kept connection may be silent for as long as the web server likes
        assert kept.ask("/one", keep=True)[0] == 200


@pytest.mark.usefixtures("worker")
def test_an_aborted_request(stack):
    with fastcgi.Connection(stack.socket) as connection:
        connection.send(fastcgi.request("/slow", keep=True))
        wait_until(lambda: stack.executions("marker:slow") == 1, "parked")
        connection.send(record(fastcgi.ABORT_REQUEST))
        assert connection.is_closed()
    wait_until(lambda: stack.redis.client().keys("*slow*:entry"), "stored all the same")


@pytest.mark.usefixtures("worker")
def test_values_stay_values(stack):
    stack.sql("create table victims (n int)")
    for value in ("'; drop table victims; --", "$1", "\\", "%", "' or '1'='1"):
        quoted = "".join(f"%{byte:02x}" for byte in value.encode())
        status, _, body = stack.ask("/echo/" + quoted)
        assert status == 200
        assert body.decode() == '"' + value.replace("\\", "\\\\") + '"'
    assert stack.sql("select count(*) from victims") == [(0,)]
