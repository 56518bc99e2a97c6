# SPDX-License-Identifier: BSD-2-Clause
"""The metrics: who may read them, what they count, that counters never go backwards."""
import os
import re
import signal
import urllib.parse

from harness.postgres import GATE
from harness.promtool import histograms, kinds, parse, promtool
from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name from items where id = $1"
  shape = object
}
route "/broken" { context = "c"  sql = "select * from no_such_table" }
route "/plain" { context = "c"  sql = "select id, name from items order by id" }
"""
# A label is any text: each of these wants escaping, or is cut where a slot has no more room.
ODD_PATTERNS = ('/say/"hello"/{id}', "/back\\slash/{id}/", "/\\\"/{both}", "/",
                "/caf\u00e9/\u65e5\u672c/{id}", "/sp ace/a,b=c/{id}", "/longer/" + "\u20ac" * 120)
ODD_ROUTES = """
context "c" { budget = 60s }
context "lenient" { budget = 60s  stale_if_error = 1h }
context "strict" { budget = 0s }
route "/slow/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name from items, %s where id = $1 -- marker:slow"
  shape = object
}
route "/broken/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select (select id from items) as one, name from items, %s where id = $1 -- marker:broken"
}
route "/lenient" { context = "lenient"  sql = "select count(*) from items" }
route "/strict" { context = "strict"  sql = "select count(*) from items" }
""" % (GATE, GATE)


def start(stack, **options):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items select i, 'item ' || i from generate_series(1, 100) i")
    return stack.start(ROUTES, **options)


def read(stack):
    """Name and sorted labels to value."""
    response = stack.get("/metrics")
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert response.control == "no-store"
    return parse(response.body.decode())


def value(stack, name, **labels):
    return read(stack).get((name, tuple(sorted(labels.items()))), 0)


def responses(stack, cached, stale="false"):
    return value(stack, "leeway_response_seconds_count", route="/items/{id}", cached=cached,
                 stale=stale)


def test_requests_are_counted_by_route_and_kind(stack):
    start(stack, refresher=False)
    for path in ("/items/1", "/items/2", "/items/1", "/items/1"):
        stack.get(path)
    stack.entries.age(55)
    stack.get("/items/1")
    stack.get("/broken")
    assert (responses(stack, "false"), responses(stack, "true")) == (2, 2)
    assert value(stack, "leeway_response_seconds_count", route="/broken", cached="false",
                 stale="false") == 1
    assert responses(stack, "true", "true") == 1
    assert value(stack, "leeway_database_queries_total", route="/items/{id}", origin="miss") == 2
    assert value(stack, "leeway_cache_stale_serves_total", route="/items/{id}",
                 reason="refresh") == 1
    assert value(stack, "leeway_served_age_seconds_count", route="/items/{id}") == 5
    assert value(stack, "leeway_budget_exceeded_total", route="/items/{id}") == 0
    assert value(stack, "leeway_response_seconds_bucket", route="/items/{id}", cached="true",
                 stale="false", le="+Inf") == 2
    assert value(stack, "leeway_served_age_seconds_sum", route="/items/{id}") >= 55


def failed(stack, route):
    """Status to number, of what has failed."""
    return {dict(labels)["status"]: count for (name, labels), count in read(stack).items()
            if name == "leeway_failed_responses_total" and dict(labels)["route"] == route and count}


def test_failures_are_counted_by_route_and_status(stack):
    start(stack, refresher=False)
    assert [stack.get("/broken").status for _ in range(2)] == [500, 500]
    assert [stack.get(f"/items/{n}").status for n in (1, 1, 1000)] == [200, 200, 404]
    assert stack.get("/plain", Accept_Encoding="identity;q=0, br").status == 406
    assert failed(stack, "/broken") == {"500": 2}
    assert failed(stack, "/items/{id}") == {}
    assert failed(stack, "/plain") == {"406": 1}

    stack.postgres.stop()
    try:
        assert [stack.get(f"/items/{n}").status for n in (2, 3, 1)] == [503, 503, 200]
        assert failed(stack, "/items/{id}") == {"503": 2}
    finally:
        stack.postgres.start()


def test_what_was_decompressed_is_counted(stack):
    start(stack, refresher=False)
    for headers in ({"Accept_Encoding": "gzip"}, {}, {"Accept_Encoding": "br"}):
        assert stack.get("/plain", **headers).status == 200
    assert stack.get("/plain", "HEAD").status == 200, "needs no body"
    assert stack.get("/items/1").status == 200, "is stored as it is"
    assert value(stack, "leeway_decompressed_responses_total", route="/plain") == 2
    assert value(stack, "leeway_decompressed_responses_total", route="/items/{id}") == 0


def test_gauges(stack):
    start(stack)
    stack.get("/items/1")
    wait_until(lambda: value(stack, "leeway_redis_up") == 1, "Redis is up")
    wait_until(lambda: value(stack, "leeway_postgres_up") == 1, "Postgres is up")
    assert value(stack, "leeway_workers", state="serving") == 2
    assert value(stack, "leeway_jobs_queued") == 0
    assert value(stack, "leeway_job_oldest_seconds") == 0
    assert value(stack, "leeway_redis_memory_fragmentation_ratio") > 0
    assert [labels for name, labels in read(stack) if name == "leeway_build_info"]


def test_the_queue_is_measured(stack):
    start(stack, refresher=False)
    stack.redis.client().lpush(stack.jobs(), '[1,1000,"items.id","0123456789abcdef",["1"]]', "x")
    assert value(stack, "leeway_jobs_queued") == 2
    assert value(stack, "leeway_job_oldest_seconds") > 1e6


def test_refreshes_show_up(stack):
    start(stack)
    stack.get("/items/1")
    stack.entries.age(55)
    stack.get("/items/1")
    wait_until(lambda: value(stack, "leeway_cache_refreshes_total", route="/items/{id}",
                             result="stored") == 1, "the refresh is counted")
    assert value(stack, "leeway_database_queries_total", route="/items/{id}",
                 origin="refresh") == 1

    stack.sql("alter table items rename to hidden")
    stack.entries.age(55)
    # one worker asks at most once a second for the same response
    wait_until(lambda: stack.get("/items/1").status == 200 and
               value(stack, "leeway_cache_refresh_failures_total", route="/items/{id}") > 0,
               "the failure is counted")
    assert value(stack, "leeway_cache_refreshes_total", route="/items/{id}", result="failed") > 0


def test_labels_hold_patterns_and_never_values(stack):
    start(stack, refresher=False)
    for path in ("/items/77", "/nowhere/77", "/items/x77", "/items/1?token=77"):
        stack.get(path)
    routes = {dict(labels).get("route") for _, labels in read(stack)}
    assert routes == {None, "/items/{id}"}
    assert b"token" not in stack.get("/metrics").body


def test_an_unreachable_redis_shows(stack):
    start(stack, refresher=False)
    stack.redis.stop()
    stack.get("/items/1")
    wait_until(lambda: value(stack, "leeway_redis_up") == 0, "Redis is down")


def test_only_for_those_allowed(stack):
    start(stack, refresher=False)
    assert stack.ask("/metrics", REMOTE_ADDR="127.0.0.1")[0] == 200
    assert stack.ask("/metrics", REMOTE_ADDR="::1")[0] == 200
    for address in ("192.0.2.1", "127.0.0.11", "", "127.0.0.1, 192.0.2.1"):
        status, headers, body = stack.ask("/metrics", REMOTE_ADDR=address)
        assert status == 403 and headers["cache-control"] == "no-store"
        assert b"leeway_" not in body


def test_other_addresses_and_paths(stack):
    start(stack, refresher=False, settings="""metrics_path = "/-/numbers"
health_path = ""
metrics_allow = {"192.0.2.1"}""")
    assert stack.ask("/-/numbers", REMOTE_ADDR="192.0.2.1")[0] == 200
    assert stack.ask("/-/numbers")[0] == 403
    assert stack.ask("/metrics")[0] == 404
    assert stack.ask("/health")[0] == 404


def test_networks_and_mapped_addresses(stack):
    start(stack, refresher=False, settings='metrics_allow = {"127.0.0.1", "10.1.0.0/16", "2001:db8::/32"}')
    for address, status in (("127.0.0.1", 200), ("::ffff:127.0.0.1", 200), ("127.0.0.2", 403),
                            ("10.1.255.255", 200), ("::ffff:10.1.2.3", 200), ("10.2.0.0", 403),
                            ("2001:db8:1::", 200), ("2001:db9::", 403), ("::1", 403)):
        assert stack.ask("/metrics", REMOTE_ADDR=address)[0] == status, address


def test_counters_survive_a_killed_worker_and_a_reload(stack):
    stack.expect_deaths = True
    start(stack, refresher=False)
    for number in range(1, 21):
        stack.get(f"/items/{number}")
    before = read(stack)
    for child in stack.worker.children():
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: stack.worker.has_children(2), "the workers are replaced")
    assert responses(stack, "false") == 20
    children = set(stack.worker.children())
    stack.worker.send(signal.SIGHUP)
    wait_until(lambda: stack.worker.has_children(2) and
               not children & set(stack.worker.children()), "all are replaced")
    stack.get("/items/1")
    after = read(stack)
    assert responses(stack, "false") == 20
    assert not [key for key, number in before.items()
                if key[0].endswith(("_total", "_count", "_bucket", "_sum"))
                and after.get(key, 0) < number]


def test_each_name_is_declared_once_with_help_and_type(stack):
    start(stack)
    stack.get("/items/1")
    stack.get("/broken")
    text = stack.get("/metrics").body.decode()
    helps = re.findall(r"^# HELP (\S+) \S.*$", text, re.M)
    assert sorted(kinds(text)) == sorted(helps) and len(helps) == len(set(helps))
    assert {"leeway_response_seconds", "leeway_cache_stale_serves_total",
            "leeway_cache_refreshes_total", "leeway_cache_refresh_failures_total",
            "leeway_served_age_seconds", "leeway_budget_exceeded_total",
            "leeway_database_queries_total", "leeway_collapsed_requests_total",
            "leeway_jobs_queued", "leeway_job_oldest_seconds", "leeway_redis_up",
            "leeway_postgres_up", "leeway_redis_memory_fragmentation_ratio", "leeway_workers",
            "leeway_build_info"} <= set(kinds(text))
    for name, _ in read(stack):
        assert re.sub(r"_(bucket|sum|count)$", "", name) in kinds(text) or name in kinds(text)


def odd_route(pattern):
    quoted = pattern.replace("\\", "\\\\").replace('"', '\\"')
    name = re.search(r"\{(.*)\}", pattern)
    param = f'param "{name[1]}" {{ type = int }}' if name else ""
    where = "where id = $1" if name else "limit 1"
    return f'''
route "{quoted}" {{
  name = "odd{ODD_PATTERNS.index(pattern)}"
  context = "c"
  {param}
  sql = "select id, name from items {where}"
  shape = object
}}
'''


def of_every_kind(stack):
    """Misses, hits, stale hits, refreshes that go well and that fail, crowds whose query goes well
    and whose query fails, what is never cached, what is not there, an answer past its budget."""
    odd = [urllib.parse.quote(re.sub(r"\{.*\}", "7", pattern)) for pattern in ODD_PATTERNS]
    statuses = {stack.ask(path)[0] for path in odd * 2 + ["/lenient", "/strict", "/slow/1"]}
    assert statuses == {200}
    assert stack.ask("/slow/1000")[0] == 404 and stack.ask("/nowhere")[0] == 404
    with stack.gate():
        crowds = [stack.ask_later(path) for path in ("/slow/2", "/broken/2") for _ in range(8)]
        wait_until(lambda: stack.executions("marker:broken") == 1 and
                   stack.executions("marker:slow") == 3,
                   "the queries are under way")
    assert {later.result()[0] for later in crowds} == {200, 500}
    stack.entries.age(55)
    assert {stack.ask(path)[0] for path in odd} == {200}
    wait_until(lambda: sum(number for (name, labels), number in read(stack).items()
                           if name == "leeway_cache_refreshes_total"
                           and ("result", "stored") in labels) == len(odd), "all are refreshed")
    stack.sql("alter table items rename to hidden")
    stack.entries.age(55)
    # one worker asks at most once a second for the same response
    wait_until(lambda: stack.ask(odd[0])[0] == 200 and
               any(number for (name, _), number in read(stack).items()
                   if name == "leeway_cache_refresh_failures_total"), "a refresh has failed")
    stack.entries.age(10)
    stack.postgres.stop()
    try:
        assert stack.ask("/lenient")[0] == 200 and stack.ask("/strict")[0] == 503
    finally:
        stack.postgres.start()


def test_promtool_finds_nothing_wrong(stack):
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items select i, 'item ' || i from generate_series(1, 100) i")
    stack.start(ODD_ROUTES + "".join(map(odd_route, ODD_PATTERNS)))
    assert promtool("check", "metrics", given=stack.get("/metrics").body.decode()) == (0, "")
    of_every_kind(stack)
    text = stack.get("/metrics").body.decode()
    assert promtool("check", "metrics", given=text) == (0, "")
    check_histograms(text)
    check_names(text)
    routes = {re.sub(r"\\(.)", r"\1", dict(labels)["route"]) for _, labels in parse(text)
              if "route" in dict(labels)}
    # 255 bytes are kept, less what would be a part of a character
    assert routes == {"/slow/{id}", "/broken/{id}", "/lenient", "/strict",
                      *ODD_PATTERNS[:-1], ODD_PATTERNS[-1][:8 + 82]}


def check_histograms(text):
    """Cumulative, ended by +Inf, and of one mind with their own sum and count."""
    found = histograms(text)
    assert {name for name, _ in found} == {"leeway_response_seconds", "leeway_served_age_seconds"}
    assert {dict(labels)["cached"] + dict(labels)["stale"] for name, labels in found
            if name == "leeway_response_seconds"} == {"falsefalse", "truefalse", "truetrue"}
    for (name, labels), histogram in found.items():
        bounds = [bound for bound, _ in histogram["buckets"]]
        numbers = [number for _, number in histogram["buckets"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), (name, labels)
        assert numbers == sorted(numbers) and numbers[-1] == histogram["count"] > 0
        if name == "leeway_response_seconds":
            assert (bounds[0], bounds[-2]) == (50e-6, 10) and 20 <= len(bounds) <= 24
            assert 0.015 in bounds  # what a cached response is to keep below
            assert max(above / below for below, above in zip(bounds, bounds[1:-1])) < 2.6
        # no bucket holds more than its number times its bound, nor less than that of the one below
        each = [after - before for before, after in zip([0] + numbers, numbers)]
        least = sum(number * bound for number, bound in zip(each, [0] + bounds[:-1]))
        most = sum(number * bound for number, bound in zip(each, bounds) if number)
        assert least - 1e-6 <= histogram["sum"] <= most + 1e-6, (name, labels, histogram)


def check_names(text):
    """As Prometheus would have them: counters end in _total, times are in seconds."""
    for name, kind in kinds(text).items():
        assert name.startswith("leeway_") and name.endswith("_total") == (kind == "counter")
        assert not re.search(r"_(ms|us|millis|micros|milliseconds|microseconds|bytes)\b", name)
        assert kind != "histogram" or name.endswith("_seconds")
