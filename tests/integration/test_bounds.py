# SPDX-License-Identifier: BSD-2-Clause
"""What a worker holds is bounded: answers that nobody takes, results under way, descriptors."""
import json
import socket

from harness import fastcgi
from harness.fastcgi import Closed, Connection
from harness.postgres import GATE
from harness.wait import wait_until

MB = 1000000
ROUTES = f"""
context "c" {{ budget = 60s }}
route "/hello" {{ context = "c"  sql = "select 'hello'::text as t"  shape = value }}
route "/big/{{n}}" {{ context = "c"  param "n" {{ type = int }}
  sql = "select $1::int || repeat('x', {MB})"  shape = value }}
route "/rows/{{n}}" {{ param "n" {{ type = int }}
  sql = "select repeat('x', 100000) as t from generate_series(1, $1::int)" }}
route "/held/{{n}}" {{ param "n" {{ type = int }}
  sql = "select repeat('x', 100000) as t from generate_series(1, 18 + 0 * $1::int)
         union all select 'end' from {GATE} -- marker:held" }}
"""


def ask_and_read_nothing(stack, uri):
    """A connection whose answer has begun to come and is not read."""
    connection = Connection(stack.socket)
    connection.send(fastcgi.request(uri))
    assert connection.socket.recv(1, socket.MSG_PEEK)
    return connection


def read_late(connections):
    """The lengths of the bodies that came whole; None for each that was cut off."""
    lengths = []
    for connection in connections:
        try:
            lengths.append(len(connection.read_answer()[2]))
        except Closed:
            lengths.append(None)
        connection.close()
    return lengths


def start_one(stack, settings, **options):
    stack.configure(ROUTES, workers=1, settings=settings, **options)
    stack.worker = stack.start_worker()


def fill(stack, uris):
    """So that none of them waits for a query later."""
    for uri in uris:
        assert stack.ask(uri)[0] == 200


def test_the_slowest_of_those_who_do_not_read_are_cut_off(stack):
    start_one(stack, "max_object = 4mb\nclient_timeout = 60s\nmax_unsent = 3500kb")
    uris = [f"/big/{n}" for n in range(10, 22)]
    fill(stack, uris)
    lengths = read_late([ask_and_read_nothing(stack, uri) for uri in uris])
    whole = [length for length in lengths if length is not None]
    assert 1 <= len(whole) <= 3
    assert lengths[-1] == MB + 4  # who has only just asked is not the slowest
    assert lengths[0] is None
    assert 'msg="a client that was slow to take its answer is cut off"' in stack.worker.log_text()
    wait_until(lambda: f"leeway_slow_clients_cut_total {12 - len(whole)}\n" in
               stack.ask("/metrics")[2].decode(), "they are counted")
    assert stack.ask("/hello")[0] == 200


def test_one_answer_that_is_larger_than_the_bound_is_not_cut_off(stack):
    start_one(stack, "max_unsent = 64kb")
    uris = ["/big/10", "/big/11"]
    fill(stack, uris)
    assert read_late([ask_and_read_nothing(stack, "/big/10")]) == [MB + 4]


def test_of_a_body_all_clients_are_cut_off_or_none(stack):
    """Who has only just asked does not make room for a crowd that holds another body."""
    start_one(stack, "max_object = 4mb\nclient_timeout = 60s\nmax_unsent = 1500kb")
    fill(stack, ["/big/10", "/big/11"])
    crowd = [ask_and_read_nothing(stack, "/big/10") for _ in range(10)]
    late = ask_and_read_nothing(stack, "/big/11")
    assert read_late(crowd + [late]) == [None] * 10 + [MB + 4]
    assert read_late([ask_and_read_nothing(stack, "/big/10")]) == [MB + 4]


def test_a_body_that_is_larger_than_the_bound_is_kept_for_a_crowd(stack):
    start_one(stack, "max_object = 4mb\nclient_timeout = 60s\nmax_unsent = 64kb")
    fill(stack, ["/big/10"])
    crowd = [ask_and_read_nothing(stack, "/big/10") for _ in range(5)]
    assert read_late(crowd) == [MB + 4] * 5


def test_an_answer_that_many_are_slow_to_take_is_kept_once(stack):
    start_one(stack, "max_object = 4mb\nclient_timeout = 60s\nmax_unsent = 3500kb")
    fill(stack, ["/big/10"])
    lengths = read_late([ask_and_read_nothing(stack, "/big/10") for _ in range(20)])
    assert lengths == [MB + 4] * 20


def test_a_response_over_max_response_is_an_error(stack):
    start_one(stack, "max_response = 1mb")
    assert stack.ask("/rows/11")[0] == 500
    assert 'error="the response is over max_response"' in stack.worker.log_text()
    assert len(json.loads(stack.ask("/rows/9")[2])) == 9


def test_a_response_larger_than_half_of_what_talloc_gives(stack):
    start_one(stack, "max_response = 200mb\nmax_unsent = 400mb\nclient_timeout = 60s")
    child, = stack.worker.children()
    with Connection(stack.socket) as connection:
        connection.send(fastcgi.request("/rows/1500"))
        size = 0
        while piece := connection.socket.recv(1 << 20):
            size += len(piece)
    assert size > 150 * MB
    assert stack.worker.children() == [child]


def test_results_under_way_are_bounded_together(stack):
    start_one(stack, "max_response = 4mb")
    gate = stack.gate()
    waiting = [stack.ask_later(f"/held/{n}") for n in range(5)]
    wait_until(lambda: 'error="the responses under way are over max_response together"' in
               stack.worker.log_text(), "one has been refused")
    assert stack.ask("/hello")[0] == 200
    gate.open()
    statuses = sorted(later.result()[0] for later in waiting)
    assert statuses.count(200) >= 1 and statuses.count(500) >= 1
    assert stack.ask("/rows/30")[0] == 200  # what was held is given back


def start_limited(stack, descriptors):
    """prlimit becomes the worker."""
    stack.configure(ROUTES, workers=1)
    limit = ["prlimit", f"--nofile={descriptors}:{descriptors}"]
    stack.worker = stack.start_process("worker", limit + stack.worker_command())
    wait_until(lambda: not stack.worker.is_running() or stack.worker_answers(), "it has started")


def test_a_low_limit_of_descriptors_is_said_at_start(stack):
    start_limited(stack, 200)
    said = 'msg="fewer connections are served than settings allow, for want of descriptors"'
    assert said in stack.worker.log_text()
    held = [Connection(stack.socket) for _ in range(300)]
    for connection in held:
        connection.send(fastcgi.begin())
    for connection in held:
        connection.close()
    assert stack.ask("/hello")[0] == 200
    assert "Too many open files" not in stack.worker.log_text()


def test_a_limit_of_descriptors_that_leaves_none_for_clients_is_refused(stack):
    start_limited(stack, 40)
    assert stack.worker.wait() == 1
    assert "leave none for connections" in stack.worker.log_text()


def test_the_operator_s_paths_answer_with_max_waiting_full(stack):
    start_one(stack, "max_waiting = 8\ndrain_timeout = 60s", postgres="statement_timeout = 60s")
    gate = stack.gate()
    asked = [stack.ask_later(f"/held/{n}") for n in range(20)]
    wait_until(lambda: sum(later.done() for later in asked) == 12, "eight wait, the others may not")
    assert stack.ask("/metrics")[0] == 200
    assert stack.ask("/health")[0] == 200
    gate.open()
    statuses = [later.result()[0] for later in asked]
    assert statuses.count(200) == 8 and statuses.count(503) == 12
