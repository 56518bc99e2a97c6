# SPDX-License-Identifier: BSD-2-Clause
"""The metrics: who may read them, what they count, that counters never go backwards."""
import os
import re
import signal

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
"""
SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


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
    samples = {}
    for line in response.body.decode().splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.match(line).groups()
        key = name, tuple(sorted(LABEL.findall(labels or "")))
        assert key not in samples
        samples[key] = float(value)
    return samples


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
    stack.redis.client().lpush("leeway:jobs", '[1,1000,"items.id","0123456789abcdef",["1"]]', "x")
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
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    helps = re.findall(r"^# HELP (\S+) \S.*$", text, re.M)
    assert sorted(kinds) == sorted(helps) and len(helps) == len(set(helps))
    assert {"leeway_response_seconds", "leeway_cache_stale_serves_total",
            "leeway_cache_refreshes_total", "leeway_cache_refresh_failures_total",
            "leeway_served_age_seconds", "leeway_budget_exceeded_total",
            "leeway_database_queries_total", "leeway_collapsed_requests_total",
            "leeway_jobs_queued", "leeway_job_oldest_seconds", "leeway_redis_up",
            "leeway_postgres_up", "leeway_redis_memory_fragmentation_ratio", "leeway_workers",
            "leeway_build_info"} <= set(kinds)
    for name, _ in read(stack):
        assert re.sub(r"_(bucket|sum|count)$", "", name) in kinds or name in kinds
