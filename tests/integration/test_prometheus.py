# SPDX-License-Identifier: BSD-2-Clause
"""The rules and the dashboard in contrib: promtool takes them, every alert has a case that fires
and one that is silent, and neither asks for a metric or a label that leeway does not have."""
import json
import os
import re

import pytest

from harness.promtool import kinds, parse, promtool

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
RULES = os.path.join(TOP, "contrib/prometheus/leeway.rules.yml")
RULES_TEST = os.path.join(TOP, "contrib/prometheus/leeway.rules.test.yml")
SCRAPE = os.path.join(TOP, "contrib/prometheus/scrape.yml")
DASHBOARD = os.path.join(TOP, "contrib/grafana/leeway.json")
METRICS = os.path.join(TOP, "docs/metrics.md")
DEFINED = os.path.join(TOP, "src/metrics/metrics.def")

# not a part of a recorded name, which has colons
METRIC = re.compile(r"(?<![\w:./-])leeway_\w+(?![\w:])")
SELECTOR = re.compile(METRIC.pattern + r"\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
BY_PROMETHEUS = {"job", "instance", "le"}
ROUTES = """
context "c" { budget = 60s }
route "/now" { context = "c"  sql = "select 1 as n"  shape = value }
"""


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def panels():
    """With what stands in rows that are closed."""
    dashboard = json.loads(text_of(DASHBOARD))
    return [panel for top in dashboard["panels"] for panel in [top, *top.get("panels", [])]]


def expressions():
    return [target["expr"] for panel in panels() for target in panel.get("targets", [])]


def variables():
    return json.loads(text_of(DASHBOARD))["templating"]["list"]


@pytest.fixture(name="scrape")
def make_scrape(stack):
    """After a miss, a hit and a stale hit, so that every histogram has its labels."""
    stack.start(ROUTES)
    for age in (0, 0, 55):
        stack.entries.age(age)
        assert stack.get("/now").status == 200
    return stack.get("/metrics").body.decode()


def test_promtool_takes_the_rules_and_the_scrape_configuration():
    status, said = promtool("check", "rules", RULES)
    assert status == 0, said
    status, said = promtool("check", "config", SCRAPE)
    assert status == 0, said


def test_every_alert_fires_when_it_should_and_not_before():
    status, said = promtool("test", "rules", RULES_TEST)
    assert status == 0, said
    cases = text_of(RULES_TEST).split("- name: ")[1:]
    for alert in re.findall(r"- alert: (\w+)", text_of(RULES)):
        own = [case for case in cases if re.search(rf"\b{alert}\b", case.splitlines()[0])]
        assert own, f"{alert} has no case"
        assert "exp_samples: []" in own[0] and f'alertname="{alert}", alertstate="firing"' in own[0]


def test_every_alert_says_what_to_do():
    alerts = re.split(r"- alert: ", text_of(RULES))[1:]
    assert len(alerts) >= 10
    for alert in alerts:
        assert re.search(r"^ +for: \d+[mh]$", alert, re.M), alert
        assert re.search(r"^ +severity: (page|ticket)$", alert, re.M), alert
        assert re.search(r"^ +summary: ", alert, re.M), alert
        assert re.search(r"^ +description: ", alert, re.M), alert


def sources():
    """All text in which metrics are named."""
    queries = [variable["definition"] for variable in variables() if variable["type"] == "query"]
    return [text_of(RULES), text_of(RULES_TEST), *expressions(), *queries]


def names_of(kind_by_name):
    """As they stand in expressions: of a histogram, its parts."""
    for name, kind in kind_by_name.items():
        if kind == "histogram":
            yield from (name + "_bucket", name + "_sum", name + "_count")
        else:
            yield name


def test_no_metric_is_named_that_does_not_exist(scrape):
    exported = kinds(scrape)
    # the last is counted in Redis
    defined = set(re.findall(r'"(leeway_\w+)"', text_of(DEFINED))) | {"leeway_jobs_abandoned_total"}
    assert defined == {name for name, kind in exported.items() if kind == "counter"}
    named = {name for source in sources() for name in METRIC.findall(source)}
    assert len(named) > 10
    assert not named - set(names_of(exported))
    # and what there is, the dashboard shows
    shown = {name for source in expressions() for name in METRIC.findall(source)}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == set(exported)


def test_the_manual_lists_every_metric(scrape):
    """With its type, its labels and, of those that are fixed, each of their values."""
    rows = re.findall(r"^\| `(leeway_\w+)` \| (\w+) \|([^|]*)\|([^|]*)\|$", text_of(METRICS),
                      re.M)
    assert {name: kind for name, kind, _, _ in rows} == kinds(scrape)
    assert len(rows) == len(kinds(scrape))
    labels, values = {}, {}
    for name, pairs in parse(scrape):
        name = name if name in kinds(scrape) else re.sub(r"_(bucket|sum|count)$", "", name)
        labels.setdefault(name, set()).update(label for label, _ in pairs if label != "le")
        values.setdefault(name, set()).update(
            value for label, value in pairs if label in ("reason", "result", "origin", "state"))
    for name, _, said, meaning in rows:
        assert set(re.findall(r"`(\w+)`", said)) == labels[name], name
        assert not values[name] - set(re.findall(r"`([\w-]+)`", meaning)), name


def test_recorded_names_are_recorded():
    recorded = set(re.findall(r"- record: (\S+)", text_of(RULES)))
    used = set(re.findall(r"(?<=expr: )[a-z_]+:\w+:\w+|(?<= )[a-z_]+:leeway_\w+:\w+",
                          text_of(RULES)))
    assert recorded and used == recorded


def test_no_label_is_asked_for_that_does_not_exist(scrape):
    values = {}
    for _, labels in parse(scrape):
        for label, value in labels:
            values.setdefault(label, set()).add(value)
    rules = "\n".join(line for line in text_of(RULES).splitlines()
                      if not line.lstrip().startswith("#"))
    for source in [rules, *expressions()]:
        for grouping in GROUPING.findall(source):
            labels = {label.strip() for label in grouping.split(",")}
            assert not labels - set(values) - BY_PROMETHEUS, grouping
        for selector in SELECTOR.findall(source):
            for label, how, wanted in MATCHER.findall(selector):
                assert label in values or label in BY_PROMETHEUS, selector
                if label in BY_PROMETHEUS or wanted.startswith("$"):
                    continue
                alternatives = wanted.split("|") if how == "=~" else [wanted]
                assert not set(alternatives) - values[label], selector


def test_the_dashboard_is_whole():
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    assert [variable["name"] for variable in variables() if variable["type"] == "datasource"] == [
        "datasource"]
    for panel in panels():
        targets = panel.get("targets", [])
        assert bool(targets) != (panel["type"] == "row"), panel["title"]
        assert len({target["refId"] for target in targets}) == len(targets)
        for item in [panel, *targets] if targets else []:
            assert item["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    exceeded = next(panel for panel in panels() if panel["title"] == "Budget exceeded")
    assert exceeded["type"] == "stat"
    assert exceeded["fieldConfig"]["defaults"]["thresholds"]["steps"] == [
        {"color": "green", "value": None}, {"color": "red", "value": 1}]
    assert sum(panel["type"] == "heatmap" for panel in panels()) >= 3


def test_promtool_takes_every_expression_of_the_dashboard(folder):
    path = os.path.join(folder, "dashboard.rules.yml")
    with open(path, "w", encoding="utf-8") as out:
        out.write("groups:\n  - name: dashboard\n    rules:\n")
        for number, expression in enumerate(expressions()):
            # what Grafana would put in; within quotes, $job is as good as any text
            expression = expression.replace("$__rate_interval", "5m").replace("$budget", "60")
            assert not re.search(r"\$(?!job\"|route\")", expression), expression
            # JSON is YAML
            out.write(f"      - record: panel:{number}\n        expr: {json.dumps(expression)}\n")
    status, said = promtool("check", "rules", path)
    assert status == 0 and f"{len(expressions())} rules found" in said, said
