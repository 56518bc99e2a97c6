# SPDX-License-Identifier: BSD-2-Clause
"""What Prometheus and Grafana make of the metrics: promtool takes a real scrape, the alert rules and
their cases; every name in rules and dashboard is one that is exported."""
import json
import os
import re
import subprocess

import pytest

from harness.wait import wait_until

CONTRIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../contrib")
RULES = os.path.join(CONTRIB, "prometheus/leeway.rules.yml")
CASES = os.path.join(CONTRIB, "prometheus/leeway.rules.test.yml")
DASHBOARD = os.path.join(CONTRIB, "grafana/leeway.json")
ROUTES = """
context "c" { budget = 60s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name from items where id = $1"
  shape = object
}
route "/odd/a\\"b\\\\c/{x}/é" {
  context = "c"
  param "x" { type = text }
  sql = "select $1::text"
  shape = value
}
route "/fails" { context = "c"  sql = "select 1 / (id - id) from items"  shape = array }
"""
# what Grafana puts in
MACROS = {"$__rate_interval": "5m", "$instance": ".*", "$route": ".*"}


def promtool(*arguments, **options):
    run = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False,
                         timeout=60, **options)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def with_all_kinds_of_traffic(stack):
    """Misses, hits, stale hits, refreshes, failures; patterns that have to be escaped."""
    stack.sql("create table items as select i as id, 'item ' || i as name from generate_series(1, 9) i")
    stack.configure(ROUTES)
    stack.start_worker()
    stack.start_refresher()
    for uri in ("/items/1", "/items/1", "/items/99", "/items/x", "/odd/a%22b%5Cc/y/%C3%A9", "/fails",
                "/fails", "/nothing"):
        stack.ask(uri)
    stack.entries.age(55)
    assert stack.ask("/items/1")[1]["cache-status"].endswith("detail=stale")
    wait_until(lambda: 'leeway_cache_refreshes_total{route="/items/{id}",result="stored"} 1' in
               scrape(stack), "a refresh is counted")


def scrape(stack):
    status, headers, body = stack.ask("/metrics")
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode()


def exported(text):
    """Names of series, with the suffixes of histograms."""
    return set(re.findall(r"^(\w+)[ {]", text, re.M))


def test_promtool_takes_a_scrape(stack):
    with_all_kinds_of_traffic(stack)
    text = scrape(stack)
    said = promtool("check", "metrics", input=text)
    assert said == "", said
    assert r'route="/odd/a\"b\\c/{x}/é"' in text


def test_histograms_are_consistent(stack):
    with_all_kinds_of_traffic(stack)
    found = {}
    for name, labels, value in re.findall(r"^(\w+)\{(.*)\} (\S+)$", scrape(stack), re.M):
        base = re.sub(r",le=\"[^\"]*\"", "", labels)
        if name.endswith("_bucket"):
            bound = float(re.search(r',le="([^"]*)"', labels).group(1).replace("+Inf", "inf"))
            found.setdefault((name[:-7], base), []).append((bound, int(value)))
        elif name.endswith("_count"):
            bounds = [bound for bound, _ in found[name[:-6], base]]
            counts = [count for _, count in found[name[:-6], base]]
            assert bounds == sorted(bounds) and bounds[-1] == float("inf")
            assert counts == sorted(counts) and counts[-1] == int(value)
    bounds = [bound for bound, _ in next(buckets for (name, _), buckets in found.items()
                                         if name == "leeway_response_seconds")]
    assert bounds[0] == 50e-6 and bounds[-2] == 10


def test_alerts_are_right_and_do_what_they_say():
    assert "10 rules found" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("test", "rules", CASES)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_not():
    with open(RULES, encoding="utf-8") as text:
        alerts = re.findall(r"alert: (\w+)", text.read())
    with open(CASES, encoding="utf-8") as text:
        cases = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?", text.read())
    for alert in alerts:
        assert {empty for name, empty in cases if name == alert} == {"", " []"}, alert


def expressions():
    with open(DASHBOARD, encoding="utf-8") as text:
        board = json.load(text)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) > 10
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def test_the_dashboard_s_expressions_are_right(folder):
    rules = os.path.join(folder, "rules.yml")
    with open(rules, "w", encoding="utf-8") as out:
        out.write("groups:\n  - name: board\n    rules:\n")
        for number, expression in enumerate(expressions()):
            for macro, value in MACROS.items():
                expression = expression.replace(macro, value)
            assert "$" not in expression
            out.write(f"      - record: board:{number}\n        expr: {json.dumps(expression)}\n")
    promtool("check", "rules", rules)


@pytest.mark.parametrize("source", ("rules", "dashboard"))
def test_names_are_those_that_are_exported(stack, source):
    with_all_kinds_of_traffic(stack)
    if source == "rules":
        with open(RULES, encoding="utf-8") as text:
            used = set(re.findall(r"\b(leeway_\w+)", text.read()))
    else:
        used = set(re.findall(r"\b(leeway_\w+)", " ".join(expressions())))
    assert used - exported(scrape(stack)) == set()
