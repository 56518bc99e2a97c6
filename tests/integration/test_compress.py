# SPDX-License-Identifier: BSD-2-Clause
"""Responses that are stored compressed: who gets which form, and what its headers say."""
import gzip
import json
import os
import re
import signal

import pytest
from harness import fastcgi, http
from harness.postgres import GATE
from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
context "plain" { budget = 60s  compress = none }
context "none" { budget = 0s }
route "/rows/{n}" {
  context = "c"
  param "n" { type = int }
  sql = "select i as id, 'name ' || i as name from generate_series(1, $1) i -- marker:rows"
  shape = array
}
route "/plain/{n}" {
  context = "plain"
  param "n" { type = int }
  sql = "select i as id, 'name ' || i as name from generate_series(1, $1) i"
  shape = array
}
route "/live/{n}" {
  context = "none"
  param "n" { type = int }
  sql = "select i as id, 'name ' || i as name from generate_series(1, $1) i"
  shape = array
}
route "/gated/{n}" {
  context = "c"
  param "n" { type = int }
  sql = "select i as id, 'name ' || i as name from generate_series(1, $1) i, GATE -- marker:gated"
  shape = array
}
route "/hex/{n}" {
  context = "c"
  param "n" { type = int }
  sql = "select string_agg(md5(i::text), '') as text from generate_series(1, $1) i -- marker:hex"
  shape = object
}
route "/dense/{n}" {
  context = "c"
  param "n" { type = int }
  sql = "select string_agg(md5((i + $1)::text), repeat('x', 700)) as text
         from generate_series(1, 10000) i, GATE"
  shape = object
}
route "/missing" {
  context = "c"
  sql = "select 1 as id where false"
  shape = object
}
""".replace("GATE", GATE)


def start(stack, refresher=False, **settings):
    return stack.start(ROUTES, refresher=refresher, **settings)


def rows(count):
    return [{"id": i, "name": f"name {i}"} for i in range(1, count + 1)]


def get_gzip(stack, path, method="GET", **headers):
    return stack.get(path, method, Accept_Encoding="gzip, deflate, br", **headers)


def get_plain(stack, path, method="GET", **headers):
    return stack.get(path, method, **headers)


def check_forms(coded, plain):
    """Both are the same response; each says of itself what is true of it."""
    assert (coded.status, plain.status) == (200, 200)
    assert coded.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(coded.body) == plain.body
    assert coded.headers["etag"] != plain.headers["etag"]
    for response in coded, plain:
        assert response.headers["vary"] == "Accept-Encoding"
        assert response.headers["content-type"] == "application/json"
        assert int(response.headers["content-length"]) == len(response.body)


def test_a_response_is_compressed_once_and_sent_as_it_is_stored(stack):
    start(stack)
    miss = get_gzip(stack, "/rows/500")
    entry = stack.entries.only()
    assert (entry.coding, entry.status, json.loads(entry.body)) == ("gzip", 200, rows(500))
    assert len(entry.stored) < len(entry.body) / 4
    assert entry.clock == stack.redis.client().info("server")["run_id"]
    assert entry.snapshot_us <= entry.arrival_us
    hits = [get_gzip(stack, "/rows/500") for _ in range(3)]
    for response in [miss, *hits]:
        assert response.body == entry.stored
        assert response.headers["etag"] == f'"{entry.hash}"'
    assert hits[0].cache.startswith("leeway; hit; ttl=")
    plain = stack.get("/rows/500")
    check_forms(hits[0], plain)
    assert plain.headers["etag"] == f'"{entry.plain_hash}"'
    assert plain.body.decode() == entry.body
    assert stack.executions("marker:rows") == 1


def test_a_miss_of_a_client_without_gzip_is_stored_compressed(stack):
    start(stack)
    plain = stack.get("/rows/500")
    assert stack.entries.only().coding == "gzip"
    check_forms(get_gzip(stack, "/rows/500"), plain)


def test_head_says_what_get_would(stack):
    start(stack)
    for ask in get_gzip, get_plain:
        full, head = ask(stack, "/rows/500"), ask(stack, "/rows/500", "HEAD")
        assert (head.status, head.body) == (200, b"")
        for name in "content-length", "etag", "vary", "content-type":
            assert head.headers[name] == full.headers[name]
        assert head.headers.get("content-encoding") == full.headers.get("content-encoding")


def test_not_modified_is_said_of_the_form_that_would_be_sent(stack):
    start(stack)
    coded, plain = get_gzip(stack, "/rows/500"), stack.get("/rows/500")
    for ask, mine, other in ((get_gzip, coded, plain), (get_plain, plain, coded)):
        tag = mine.headers["etag"]
        for form in (tag, f"W/{tag}", f'"x", {tag}', tag[:-1] + '-gzip"', tag[:-1] + ';gzip"'):
            response = ask(stack, "/rows/500", If_None_Match=form)
            assert (response.status, response.body) == (304, b""), form
            assert response.headers["etag"] == tag
            assert response.headers["vary"] == "Accept-Encoding"
            assert "content-encoding" not in response.headers
        response = ask(stack, "/rows/500", If_None_Match=other.headers["etag"])
        assert (response.status, response.body) == (200, mine.body)


@pytest.mark.parametrize("field, status, coding", [
    ("", 200, None),
    ("gzip", 200, "gzip"),
    ("x-gzip", 200, "gzip"),
    ("br, zstd", 200, None),
    ("br;q=1.0, gzip;q=0.1", 200, "gzip"),
    ("gzip;q=0", 200, None),
    ("identity, gzip;q=0.5", 200, None),
    ("identity;q=0.5, gzip", 200, "gzip"),
    ("*", 200, "gzip"),
    ("*;q=0.1, gzip;q=0", 200, None),
    ("identity;q=0, gzip", 200, "gzip"),
    ("*;q=0, gzip", 200, "gzip"),
    ("identity;q=0", 406, None),
    ("identity;q=0, br", 406, None),
    ("*;q=0", 406, None),
    ("gzip;q=0, *;q=0", 406, None),
    ("gzip;q=nonsense", 200, None),
])
def test_accept_encoding(stack, field, status, coding):
    start(stack)
    for _ in range(2):  # a miss and a hit, if it is one
        response = stack.get("/rows/500", Accept_Encoding=field)
        assert (response.status, response.headers.get("content-encoding")) == (status, coding)
        if status == 406:
            assert response.headers["content-type"] == "application/problem+json"
            assert response.control == "no-store"
        else:
            body = gzip.decompress(response.body) if coding else response.body
            assert json.loads(body) == rows(500)
    assert stack.executions("marker:rows") == (1 if status == 200 else 0)


def test_a_context_without_compression(stack):
    start(stack)
    for _ in range(2):
        response = get_gzip(stack, "/plain/500")
        assert response.json() == rows(500)
        assert "content-encoding" not in response.headers
        assert "vary" not in response.headers
    assert stack.entries.only().coding == "identity"
    assert stack.get("/plain/500", Accept_Encoding="identity;q=0, gzip").status == 406


def test_a_short_body_is_stored_as_it_is(stack):
    start(stack)
    for _ in range(2):
        response = get_gzip(stack, "/rows/5")
        assert response.json() == rows(5)
        assert "content-encoding" not in response.headers
    assert stack.entries.only().coding == "identity"
    # the one form that this client accepts is made for it
    coded = stack.get("/rows/5", Accept_Encoding="identity;q=0, gzip")
    check_forms(coded, stack.get("/rows/5"))
    same = stack.get("/rows/5", Accept_Encoding="identity;q=0, gzip",
                     If_None_Match=coded.headers["etag"])
    assert same.status == 304


def test_the_size_from_which_it_is_worth_it(stack):
    stack.start(ROUTES.replace('context "c" { budget = 60s }',
                               'context "c" { budget = 60s  compress_min = 20kb }'),
                refresher=False)
    assert "content-encoding" not in get_gzip(stack, "/rows/500").headers
    assert get_gzip(stack, "/rows/1000").headers["content-encoding"] == "gzip"


def test_the_bound_of_an_object_is_judged_before_compression(stack):
    start(stack, settings="max_object = 10kb\n")
    for ask in get_gzip, get_plain:
        response = ask(stack, "/rows/1000")
        assert response.json() == rows(1000)
        assert response.cache == "leeway; fwd=bypass; detail=too-large"
    assert stack.entries.keys() == []


def test_problems_are_not_compressed(stack):
    start(stack)
    for path, status in (("/missing", 404), ("/nowhere", 404), ("/rows/x", 400)):
        for _ in range(2):
            response = get_gzip(stack, path)
            assert response.status == status
            assert response.json()["status"] == status
            assert "content-encoding" not in response.headers
            assert "vary" not in response.headers
    # an error has the one form that it has
    assert stack.get("/missing", Accept_Encoding="identity;q=0, gzip").status == 404


def test_what_is_never_stored_is_compressed_for_who_accepts_it(stack):
    start(stack)
    coded, plain = get_gzip(stack, "/live/500"), stack.get("/live/500")
    check_forms(coded, plain)
    assert coded.control == plain.control == "no-store"


def damage(stack, change):
    client = stack.redis.bytes_client()
    key = stack.entries.keys()[0]
    value = client.get(key)
    client.set(key, change(value), keepttl=True)


@pytest.mark.parametrize("name", ["bytes", "longer", "shorter", "plain tag"])
def test_a_body_that_does_not_decode_is_a_miss(stack, name):
    changes = {
        "bytes": lambda value: value[:-100] + bytes(100),
        "longer": lambda value: value[:199] + b"%09d" % (int(value[199:208]) + 1) + value[208:],
        "shorter": lambda value: value[:199] + b"%09d" % (int(value[199:208]) - 1) + value[208:],
        "plain tag": lambda value: value[:109] + b"\r\nX: y" + value[115:],
    }
    start(stack)
    stack.get("/rows/500")
    damage(stack, changes[name])
    responses = stack.get_many(["/rows/500"] * 8)
    for response in responses:
        assert (response.status, response.json()) == (200, rows(500))
    assert any(response.cache.startswith("leeway; fwd=uri-miss; fwd-status=200; stored")
               for response in responses)
    assert stack.executions("marker:rows") == 2
    assert "does not decode" in stack.worker.log_text()
    assert stack.get("/rows/500").cache.startswith("leeway; hit; ttl=")
    assert json.loads(stack.entries.only().body) == rows(500)


def test_head_of_a_form_without_a_tag_is_a_miss(stack):
    start(stack)
    tag = stack.get("/rows/500").headers["etag"]
    damage(stack, lambda value: value[:109] + b"X" + value[110:])
    assert get_plain(stack, "/rows/500", "HEAD").headers["etag"] == tag
    assert stack.executions("marker:rows") == 2


def ask_slowly(stack, uri, **variables):
    connection = fastcgi.Connection(stack.socket)
    connection.send(fastcgi.request(uri, **variables))
    return connection


def take_to_the_end(connection):
    """The status; the rest is thrown away, for it is long."""
    out = connection.take(32)
    while connection.socket.recv(1 << 20):
        pass
    connection.close()
    return int(re.search(rb"Status: (\d+)", out).group(1))


def take_quickly(stack, uri):
    return take_to_the_end(ask_slowly(stack, uri))


def budget_exceeded(stack):
    text = stack.ask("/metrics")[2].decode()
    return sum(float(line.split()[-1]) for line in text.splitlines()
               if line.startswith("leeway_budget_exceeded_total{"))


def test_what_takes_long_to_decompress_is_not_served_past_its_budget(stack):
    stack.configure(ROUTES, workers=1, settings="max_object = 64mb\n",
                    redis="command_timeout = 2s")
    stack.worker = stack.start_worker()
    stack.ask("/hex/240000", HTTP_ACCEPT_ENCODING="gzip")
    client = stack.redis.client()
    key = stack.entries.keys()[0]
    client.persist(key)
    assert take_quickly(stack, "/hex/240000") == 200
    for left_ms in range(10, 210, 5):
        # what is too old gets an answer without a query
        client.set(key.replace(":entry", ":lease"), "!503", px=5000)
        seconds, us = client.time()
        snapshot_us = (seconds - 60) * 1000000 + us + left_ms * 1000
        client.setrange(key, 4, f"{snapshot_us:016d}")
        assert take_quickly(stack, "/hex/240000") in (200, 503)
    # a starved machine may be late between the decision and the write, but not each time
    assert budget_exceeded(stack) < 5


def test_what_is_too_large_to_be_compressed_in_one_go_is_stored_as_it_is(stack):
    stack.configure(ROUTES, workers=1, settings="max_object = 64mb\n",
                    redis="command_timeout = 2s")
    stack.worker = stack.start_worker()
    for number, coding in ((240000, "gzip"), (270000, "identity")):
        stack.redis.client().flushall()
        status, headers, body = stack.ask(f"/hex/{number}", HTTP_ACCEPT_ENCODING="gzip")
        assert (status, headers.get("content-encoding", "identity")) == (200, coding)
        assert stack.entries.only().coding == coding
        body = gzip.decompress(body) if coding == "gzip" else body
        assert len(json.loads(body)["text"]) == 32 * number
    # nor is it for one who accepts it in no other way
    assert stack.ask("/hex/270000", HTTP_ACCEPT_ENCODING="gzip, identity;q=0")[0] == 406
    assert stack.executions("marker:hex") == 2


def memory_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def test_who_is_slow_to_take_one_form_holds_no_other(stack):
    # what is freed is to be seen
    stack.environment = {**os.environ,
                         "ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}
    stack.configure(ROUTES, workers=1, settings="max_object = 64mb\n",
                    redis="command_timeout = 2s")
    stack.worker = stack.start_worker()
    before = memory_kb(stack.worker.children()[0])
    slow = []
    for n in range(1, 9):
        with stack.gate():
            slow.append(ask_slowly(stack, f"/dense/{n}00000", HTTP_ACCEPT_ENCODING="gzip"))
            plain = ask_slowly(stack, f"/dense/{n}00000")
            wait_until(lambda n=n: stack.executions("md5((i + $1)") == n, "the query is under way")
        assert take_to_the_end(plain) == 200
    # eight compressed ones of a quarter of a megabyte, and what the allocator keeps of one query
    assert memory_kb(stack.worker.children()[0]) < before + 40000
    for connection in slow:
        connection.close()


def test_who_waits_for_one_query_gets_each_its_form(stack):
    start(stack)
    with stack.gate():
        later = [http.Background(lambda ask=ask: ask(stack, "/gated/500"))
                 for ask in (get_gzip, get_plain) * 8]
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
    responses = [each.result() for each in later]
    assert stack.executions("marker:gated") == 1
    for coded, plain in zip(responses[::2], responses[1::2]):
        check_forms(coded, plain)


def test_a_refresh_stores_it_compressed(stack):
    start(stack, refresher=True)
    get_gzip(stack, "/rows/500")
    stack.entries.age(55)
    aged = stack.entries.only()
    assert get_gzip(stack, "/rows/500").cache.endswith("; detail=stale")
    wait_until(lambda: stack.entries.only().snapshot_us > aged.snapshot_us, "it is refreshed")
    entry = stack.entries.only()
    assert (entry.coding, json.loads(entry.body)) == ("gzip", rows(500))
    assert get_gzip(stack, "/rows/500").body == entry.stored


def reload(stack, routes):
    before = stack.worker.children()
    stack.configure(routes)
    stack.worker.send(signal.SIGHUP)
    stack.await_replaced(stack.worker, before)


def test_a_reload_that_switches_compression(stack):
    start(stack)
    coded, plain = get_gzip(stack, "/rows/500"), stack.get("/rows/500")
    without = ROUTES.replace('context "c" { budget = 60s }',
                             'context "c" { budget = 60s  compress = none }')
    reload(stack, without)
    # what is stored stays good, in both forms; what is stored from now on has one
    again, again_plain = get_gzip(stack, "/rows/500"), stack.get("/rows/500")
    assert again.cache.startswith("leeway; hit")
    assert (again.body, again_plain.body) == (coded.body, plain.body)
    check_forms(again, again_plain)
    assert "content-encoding" not in get_gzip(stack, "/rows/501").headers
    reload(stack, ROUTES)
    assert get_gzip(stack, "/rows/501").json() == rows(501)
    assert get_gzip(stack, "/rows/502").headers["content-encoding"] == "gzip"


def test_explain_tells_how_it_is_stored(stack):
    start(stack)
    get_gzip(stack, "/rows/500")
    entry = stack.entries.only()
    said = stack.run("leewayctl", "-c", stack.config, "explain", "--json", "/rows/500")
    told = json.loads(said.stdout)["entry"]
    assert (told["coding"], told["body_bytes"], told["stored_bytes"]) == (
        "gzip", len(entry.body), len(entry.stored))
    assert (told["etag"], told["stored_etag"]) == (f'"{entry.plain_hash}"', f'"{entry.hash}"')
    said = stack.run("leewayctl", "-c", stack.config, "explain", "/rows/500").stdout
    assert f"as gzip: {len(entry.stored)} bytes" in said
    assert entry.clock in said
