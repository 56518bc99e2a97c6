# SPDX-License-Identifier: BSD-2-Clause
"""Bytes that no web server sends: the worker lives and serves on."""
import json
import random
import struct

import pytest

from harness import fastcgi
from harness.fastcgi import Connection, record
from harness.postgres import GATE
from harness.wait import wait_until

ROUTES = f"""
context "c" {{ budget = 60s }}
route "/hello" {{ context = "c"  sql = "select 'hello'::text as t"  shape = value }}
route "/echo"  {{ param "t" {{ type = text  max_length = 4096 }}  sql = "select $1::text as t"
                 shape = value }}
route "/gated" {{ context = "c"  sql = "select 1 as n from {GATE} -- marker:gated"  shape = value }}
"""
WHOLE = fastcgi.request("/hello")
BEGIN = fastcgi.begin()
OVERFLOW = struct.pack("!II", 0xffffffff, 0xffffffff)


def params(content, request_id=1):
    return record(fastcgi.PARAMS, content, request_id)


REFUSED = {
    "garbage": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeroes": b"\0" * 64,
    "another version": b"\2" + WHOLE[1:],
    "an unknown role": fastcgi.begin(role=9) + WHOLE[16:],
    "a short begin": record(fastcgi.BEGIN_REQUEST, b"\0\1\0"),
    "request 0": fastcgi.begin(request_id=0),
    "params first": params(b"") + WHOLE,
    "stdin before params": BEGIN + record(fastcgi.STDIN) + params(b""),
    "begin twice": BEGIN + BEGIN,
    "lengths that overflow": BEGIN + params(OVERFLOW) + params(b"") + record(fastcgi.STDIN),
    "a name beyond the end": BEGIN + params(b"\x05\x01ab") + params(b"") + record(fastcgi.STDIN),
    "an unknown record type": BEGIN + record(77, b"x"),
    "another id in between": BEGIN + params(b"", 2) + record(fastcgi.STDIN),
    "an abort": BEGIN + record(fastcgi.ABORT_REQUEST),
}


@pytest.fixture(name="worker")
def make_worker(stack):
    """One worker: whatever harms it is felt by the next request."""
    stack.configure(ROUTES, workers=1, settings="client_timeout = 1s")
    stack.worker = stack.start_worker()
    pids = stack.worker.children()
    yield stack
    check_alive(stack)
    assert stack.worker.children() == pids


def check_alive(stack):
    assert stack.ask("/hello")[::2] == (200, b'"hello"')


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_request_closes_the_connection(worker, kind):
    with Connection(worker.socket) as connection:
        connection.send(REFUSED[kind])
        assert connection.is_closed()


def test_random_bytes_and_mutations(worker):
    dice = random.Random(20240229)
    for _ in range(300):
        if dice.random() < 0.3:
            data = dice.randbytes(dice.randrange(1, 400))
        else:
            data = bytearray(WHOLE)
            for _ in range(dice.randrange(1, 6)):
                data[dice.randrange(len(data))] = dice.randrange(256)
        with Connection(worker.socket) as connection:
            connection.send(bytes(data))
    check_alive(worker)


def test_requests_cut_off_anywhere(worker):
    for size in range(len(WHOLE)):
        with Connection(worker.socket) as connection:
            connection.send(WHOLE[:size])
    check_alive(worker)


def test_parameters_cut_off_at_a_pair_are_no_request(worker):
    pair = fastcgi.pairs({"REQUEST_METHOD": "GET"})
    with worker.redis.monitor() as seen:
        with Connection(worker.socket) as connection:
            connection.send(BEGIN + params(pair + fastcgi.pairs({"REQUEST_URI": "/hello"})))
            assert connection.is_closed()
        seen.settle()
        assert not [line for line in seen.lines if "leeway:{hello" in line]


def test_a_request_in_single_bytes(worker):
    with Connection(worker.socket) as connection:
        for at in range(len(WHOLE)):
            connection.send(WHOLE[at:at + 1])
        assert connection.read_answer()[::2] == (200, b'"hello"')


def test_silent_clients_are_cut_off_and_hold_nobody_up(worker):
    silent = [Connection(worker.socket) for _ in range(50)]
    halves = [Connection(worker.socket) for _ in range(50)]
    for connection in halves:
        connection.send(WHOLE[:30])
    for _ in range(20):
        check_alive(worker)
    for connection in silent + halves:
        assert connection.is_closed()
        connection.close()


def test_get_values_is_answered(worker):
    asked = fastcgi.pairs({"FCGI_MPXS_CONNS": "", "FCGI_MAX_CONNS": "", "NONSENSE": ""})
    with Connection(worker.socket) as connection:
        connection.send(record(fastcgi.GET_VALUES, asked, 0))
        kind, request_id, content = connection.read_record()
        assert (kind, request_id) == (fastcgi.GET_VALUES_RESULT, 0)
        assert b"FCGI_MPXS_CONNS0" in content and b"NONSENSE" not in content
        assert connection.ask("/hello")[0] == 200


def test_a_flood_of_management_records_ends(worker):
    """One after the other, without a pause and without a request."""
    asked = record(fastcgi.GET_VALUES, b"", 0)
    with Connection(worker.socket) as connection:
        answered = 0
        try:
            connection.send(10000 * asked)
            while connection.read_record()[0] == fastcgi.GET_VALUES_RESULT:
                answered += 1
        except (OSError, fastcgi.Closed):
            pass
    assert answered <= 64
    check_alive(worker)


def test_get_values_with_names_repeated(worker):
    asked = fastcgi.pairs({"FCGI_MPXS_CONNS": ""}) * 50
    with Connection(worker.socket) as connection:
        connection.send(record(fastcgi.GET_VALUES, asked, 0))
        assert connection.read_record()[0] == fastcgi.GET_VALUES_RESULT
    check_alive(worker)


def test_an_unknown_management_record_is_answered(worker):
    with Connection(worker.socket) as connection:
        connection.send(record(42, b"", 0))
        kind, request_id, content = connection.read_record()
        assert (kind, request_id, content[0]) == (11, 0, 42)


def test_one_connection_many_requests(worker):
    with Connection(worker.socket) as connection:
        for request_id in (1, 2, 77, 65535):
            status, _, body = connection.ask("/hello", keep=True, request_id=request_id)
            assert (status, body) == (200, b'"hello"')
        assert connection.ask("/hello", keep=False)[0] == 200
        assert connection.is_closed()


def test_requests_sent_ahead_are_answered_in_turn(worker):
    with Connection(worker.socket) as connection:
        connection.send(b"".join(
            fastcgi.request(f"/echo?t={number}", request_id=number, keep=True)
            for number in (1, 2, 3)))
        for number in (1, 2, 3):
            assert connection.read_answer(number)[2] == f'"{number}"'.encode()


def test_a_request_sent_ahead_of_a_slow_one_s_answer(worker):
    with Connection(worker.socket) as connection:
        with worker.gate():
            connection.send(fastcgi.request("/gated", keep=True))
            wait_until(lambda: worker.executions("marker:gated") == 1, "the query is under way")
            connection.send(fastcgi.request("/hello", request_id=2, keep=True))
            check_alive(worker)
        assert connection.read_answer(1)[2] == b"1"
        assert connection.read_answer(2)[2] == b'"hello"'


def test_an_abort_while_waiting_ends_the_request(worker):
    with worker.gate():
        with Connection(worker.socket) as connection:
            connection.send(fastcgi.request("/gated", keep=True))
            wait_until(lambda: worker.executions("marker:gated") == 1, "the query is under way")
            connection.send(record(fastcgi.ABORT_REQUEST))
            assert connection.is_closed()
        check_alive(worker)


def test_overlong_input(worker):
    assert worker.ask("/hello?" + "x" * 9000)[0] == 414
    assert worker.ask("/" + "x" * 9000)[0] == 414
    for uri, further in (("/hello", {"HTTP_X": "x" * 100000}), ("/" + "x" * 1000000, {}),
                         ("/hello", {f"V{number}": "1" for number in range(20000)})):
        with Connection(worker.socket) as connection:
            assert connection.ask(uri, **further)[0] == 431
    with Connection(worker.socket) as connection:
        assert connection.ask("/hello", method="GET", stdin=b"x" * 100000)[0] == 413
    check_alive(worker)


def test_a_body_is_read_and_ignored(worker):
    with Connection(worker.socket) as connection:
        for _ in range(2):
            assert connection.ask("/hello", keep=True, stdin=b"x" * 5000)[0] == 200


def test_thousands_of_variables(worker):
    further = {f"V{number}": "1" for number in range(3000)}
    assert worker.ask("/hello", **further)[0] == 200


def test_names_with_large_length_fields(worker):
    many = fastcgi.pairs(fastcgi.variables_for("/hello", HTTP_LONG="y" * 300))
    with Connection(worker.socket) as connection:
        connection.send(BEGIN + fastcgi.stream(fastcgi.PARAMS, many) + record(fastcgi.STDIN))
        assert connection.read_answer()[0] == 200


def test_padding_and_split_params(worker):
    content = fastcgi.pairs(fastcgi.variables_for("/hello"))
    pieces = [content[at:at + 7] for at in range(0, len(content), 7)]
    data = BEGIN + b"".join(record(fastcgi.PARAMS, piece, 1, padding=5) for piece in pieces)
    with Connection(worker.socket) as connection:
        connection.send(data + params(b"") + record(fastcgi.STDIN, b"", 1, padding=8))
        assert connection.read_answer()[0] == 200


def test_no_request_uri(worker):
    without = fastcgi.variables_for("/x", SCRIPT_NAME="/hel", PATH_INFO="lo")
    del without["REQUEST_URI"]
    with Connection(worker.socket) as connection:
        connection.send(BEGIN + fastcgi.stream(fastcgi.PARAMS, fastcgi.pairs(without)) +
                        record(fastcgi.STDIN))
        assert connection.read_answer()[0] == 200


def test_no_method_is_405(worker):
    for content in (b"", params(fastcgi.pairs({"A": "b"}))):
        with Connection(worker.socket) as connection:
            connection.send(BEGIN + content + params(b"") + record(fastcgi.STDIN))
            assert connection.read_answer()[0] == 405


def test_a_kept_connection_may_stay_silent(worker):
    with Connection(worker.socket) as kept, Connection(worker.socket) as silent:
        assert kept.ask("/hello", keep=True)[0] == 200
        # client_timeout has passed when the other is cut off
        assert silent.is_closed()
        assert kept.ask("/hello", keep=True)[0] == 200


def test_values_stay_values(worker):
    worker.sql("create table victims (n int)")
    for value in ("'; drop table victims; --", "$1", "\\", "%", "' or '1'='1"):
        quoted = "".join(f"%{byte:02x}" for byte in value.encode())
        status, _, body = worker.ask("/echo?t=" + quoted)
        assert (status, json.loads(body)) == (200, value)
    assert worker.sql("select count(*) from victims") == [(0,)]
