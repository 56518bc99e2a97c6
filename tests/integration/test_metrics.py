# SPDX-License-Identifier: BSD-2-Clause
"""Prometheus metrics: what was asked is what is counted, whoever dies meanwhile."""
import os
import re
import signal
import time

from harness.wait import wait_until

ROUTES = """
context "c" { budget = 20s  refresh_at = 0.05 }
route "/items/{id}" { context = "c" param "id" { type = int } sql = "select $1::int as id"  shape = object }
route "/broken" { sql = "select nothing" }
"""

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')


def read(stack):
    answer = stack.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.control == "no-store"
    values = {}
    typed = set()
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split(" ")[2])
        if line.startswith("#"):
            continue
        name, labels, value = LINE.fullmatch(line).groups()
        assert re.sub("_(bucket|sum|count)$", "", name) in typed or name in typed, line
        assert (name, labels) not in values, "given twice"
        values[name, labels] = float(value)
    return values


def responses(stack, cached, stale, route="/items/{id}"):
    return read(stack).get(("leeway_response_seconds_count",
                            f'route="{route}",cached="{cached}",stale="{stale}"'), 0)


def test_what_is_counted(stack):
    stack.start(ROUTES)
    for _ in range(3):
        stack.get("/items/1")
    stack.get("/items/2")
    stack.get("/broken")
    assert responses(stack, "false", "false") == 2
    assert responses(stack, "true", "false") == 2
    assert responses(stack, "false", "false", "/broken") == 1
    values = read(stack)
    assert values["leeway_database_queries_total", 'route="/items/{id}",origin="miss"'] == 2
    assert values["leeway_budget_exceeded_total", 'route="/items/{id}"'] == 0
    assert values["leeway_served_age_seconds_count", 'route="/items/{id}"'] == 4
    assert values["leeway_workers", 'state="serving"'] == 2
    assert values["leeway_redis_up", None] == 1
    assert values["leeway_postgres_up", None] == 1
    assert values["leeway_jobs_queued", None] == 0
    assert values["leeway_build_info", values_of(values, "leeway_build_info")] == 1
    # a histogram's last bucket is its count
    assert values["leeway_response_seconds_bucket",
                  'route="/items/{id}",cached="true",stale="false",le="+Inf"'] == 2


def values_of(values, name):
    return next(labels for this, labels in values if this == name)


def test_stale_hits_and_refreshes(stack):
    stack.start(ROUTES)
    stack.get("/items/1")
    time.sleep(1.1)
    stack.get("/items/1")
    assert responses(stack, "true", "true") == 1
    stored = ("leeway_cache_refreshes_total", 'route="/items/{id}",result="stored"')
    wait_until(lambda: read(stack).get(stored) == 1, "the refresher's counts are there too")
    values = read(stack)
    assert values["leeway_cache_stale_serves_total", 'route="/items/{id}",reason="refresh"'] == 1
    assert values["leeway_database_queries_total", 'route="/items/{id}",origin="refresh"'] == 1


def test_counts_outlive_processes(stack):
    stack.expect_deaths = True
    stack.start(ROUTES)
    for i in range(20):
        stack.get(f"/items/{i}")
    assert responses(stack, "false", "false") == 20
    before = stack.worker.children()
    for child in before:
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: responses(stack, "false", "false") == 20 and
               read(stack)["leeway_workers", 'state="serving"'] == 2, "the same counts")
    stack.worker.send(signal.SIGHUP)
    wait_until(lambda: not set(stack.worker.children()) & set(before), "replaced")
    stack.get("/items/100")
    wait_until(lambda: responses(stack, "false", "false") == 21, "counted on")


def test_not_for_everybody(stack):
    stack.configure(ROUTES, settings='metrics_allow = {"127.0.0.1"}')
    stack.start_worker("-n", "1")
    assert stack.ask("/metrics")[0] == 200
    for address in ("127.0.0.2", "10.0.0.1", ""):
        status, headers, _ = stack.ask("/metrics", REMOTE_ADDR=address)
        assert (status, headers["cache-control"]) == (403, "no-store")
