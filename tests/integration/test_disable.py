# SPDX-License-Identifier: BSD-2-Clause
"""leewayctl disable and enable: a route's cache or all refreshes, on a host or in the fleet."""
import fcntl
import json
import os
import re
import signal
import subprocess

import pytest

from harness.process import unprivileged_account
from harness.stack import program
from harness.postgres import GATE
from harness.wait import wait_until

ROUTES = """
context "c" { budget = 60s }
route "/n" { name = "n"  context = "c"  sql = "select 1 as n -- marker:n"  shape = value }
route "/m" { name = "m"  context = "c"  sql = "select 2 as n -- marker:m"  shape = value }
route "/strict" { name = "strict"  context = "default"  sql = "select 3 as n"  shape = value }
context "default" { budget = 0s }
"""
OFF = "leeway; fwd=bypass; detail=disabled"


@pytest.fixture(name="site")
def make_site(stack):
    stack.configure(ROUTES, workers=2)
    stack.worker = stack.start_worker()
    return stack


def ctl(stack, *arguments):
    return stack.run("leewayctl", "-c", stack.config, *arguments)


def said(stack, path="/n"):
    status, headers, body = stack.ask(path)
    assert status == 200 and body in (b"1", b"2", b"3")
    return headers["cache-status"]


def await_said(stack, wanted, path="/n"):
    """By all of its workers: several times in a row."""
    wait_until(lambda: all(re.match(wanted, said(stack, path)) for _ in range(12)), wanted)


def test_a_route_on_this_host(site):
    other = site.beside("other")
    other.configure(ROUTES, workers=1)
    other.start_worker()
    said(site)
    run = ctl(site, "disable", "--route", "n")
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(r"route:n is disabled on this host until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n",
                        run.stdout)
    await_said(site, OFF)
    status, headers, _ = site.ask("/n")
    assert (status, headers["cache-control"]) == (200, "no-store")
    # each request is a query of its own, and nothing is stored
    before = site.executions("marker:n")
    for _ in range(3):
        said(site)
    assert site.executions("marker:n") == before + 3
    # other routes and other hosts go on
    assert said(site, "/m").startswith("leeway; fwd=uri-miss")
    assert said(site, "/m").startswith("leeway; hit")
    assert said(other).startswith("leeway; hit")
    # the audit line, once
    lines = re.findall(r'^warn .*msg="an operator has disabled something" what=route:n scope=host '
                       r'until=\S+ by=\S+@\S+$', site.worker.log_text(), re.MULTILINE)
    assert len(lines) == 1, site.worker.log_text()
    assert ctl(site, "enable", "--route", "n").stdout == "route:n is enabled on this host\n"
    await_said(site, "leeway; (hit|fwd=uri-miss)")
    assert 'msg="what was disabled is enabled again" what=route:n' in site.worker.log_text()


def test_a_route_in_the_fleet(site):
    other = site.beside("other")
    other.configure(ROUTES, workers=1)
    other.start_worker()
    assert ctl(site, "disable", "--fleet", "--route", "n", "--for", "1d").returncode == 0
    await_said(site, OFF)
    await_said(other, OFF)
    assert said(other, "/m").startswith("leeway; fwd=uri-miss")
    # what is known holds on while Redis is away
    site.redis.stop()
    wait_until(lambda: "redis-unavailable" in said(site, "/m"), "it is away")
    await_said(site, OFF)
    site.redis.start()
    wait_until(lambda: "redis-unavailable" not in said(site, "/m"), "it is back")
    # a Redis that was emptied has no switches, and neither has the fleet then
    await_said(other, "leeway; (hit|fwd=uri-miss)")


def test_it_ends_by_itself(site):
    assert ctl(site, "disable", "--route", "n", "--for", "2s").returncode == 0
    assert ctl(site, "disable", "--fleet", "--route", "m", "--for", "2s").returncode == 0
    await_said(site, "leeway; (hit|fwd=uri-miss)")
    await_said(site, "leeway; (hit|fwd=uri-miss)", "/m")
    wait_until(lambda: not site.redis.client().keys("*:switches:*"), "the key is gone")
    assert ctl(site, "disable").stdout == "nothing is disabled\n"


def test_refreshes(site):
    site.start_refresher()
    said(site)
    assert ctl(site, "disable", "--refresh").returncode == 0
    wait_until(lambda: "what=refresh" in site.worker.log_text(), "they know")
    before = site.executions("marker:n")

    def is_refreshed():
        site.entries.age(57)
        for _ in range(6):
            # one worker may know a moment later
            assert "detail=stale" in said(site) or site.executions("marker:n") > before
        return site.executions("marker:n") > before
    if is_refreshed():
        before = site.executions("marker:n")
        assert not is_refreshed()
    assert not site.redis.client().llen(site.jobs())
    assert ctl(site, "enable", "--refresh").returncode == 0
    wait_until(is_refreshed, "a refresh is done")


@pytest.mark.parametrize("scope", ["host", "fleet"])
def test_jobs_of_a_disabled_route(site, scope):
    """Refreshers work for all hosts: they drop what the fleet has disabled, and only that."""
    said(site)
    site.entries.age(57)
    wait_until(lambda: "detail=stale" in said(site) and site.redis.client().llen(site.jobs()),
               "its refresh is asked for")
    options = ["--fleet"] if scope == "fleet" else []
    assert ctl(site, "disable", *options, "--route", "n").returncode == 0
    before = site.entries.only("n").snapshot_us
    site.start_refresher()
    wait_until(lambda: not site.redis.client().llen(site.jobs()), "the job is taken")
    if scope == "host":
        wait_until(lambda: site.entries.only("n").snapshot_us > before, "it is refreshed for others")
    else:
        wait_until(lambda: not site.redis.client().keys("*:mark:*"), "the job is done with")
        assert site.entries.only("n").snapshot_us == before


def calls(stack, command):
    return stack.redis.client().info("commandstats")["cmdstat_" + command]["calls"]


def test_a_redis_that_hung_is_asked_again_at_once(site):
    said(site)
    site.redis.process.send(signal.SIGSTOP)
    wait_until(lambda: "redis is away" in site.worker.log_text() or
               "command=HGETALL" in site.worker.log_text(), "it was asked in vain")
    site.redis.process.send(signal.SIGCONT)
    wait_until(lambda: "redis-unavailable" not in said(site, "/m"), "it is back")
    # each process says once a second how it is, and asks as often
    asked, told = calls(site, "hgetall"), calls(site, "sadd")
    wait_until(lambda: calls(site, "sadd") >= told + 12, "each has had some seconds")
    assert calls(site, "hgetall") >= asked + 9


def test_a_process_that_started_without_redis_knows_before_it_serves_from_it(site):
    said(site)
    assert ctl(site, "disable", "--fleet", "--route", "n", "--for", "1d").returncode == 0
    await_said(site, OFF)
    before = site.worker.children()
    site.redis.process.send(signal.SIGSTOP)
    site.worker.send(signal.SIGHUP)
    site.await_replaced(site.worker, before)
    site.redis.process.send(signal.SIGCONT)
    seen = []

    def they_know():
        seen.extend(site.ask("/n")[1].get("cache-status") for _ in range(24))
        return set(seen[-24:]) == {OFF}
    wait_until(they_know, "they know")
    assert not any("hit" in str(status) or "stored" in str(status) for status in seen), seen


def test_a_route_that_was_renamed_is_enabled_again(site):
    assert ctl(site, "disable", "--route", "n").returncode == 0
    assert ctl(site, "disable", "--fleet", "--route", "n").returncode == 0
    site.configure(ROUTES.replace('name = "n"', 'name = "other"'))
    assert ctl(site, "enable", "--route", "n").returncode == 0
    assert ctl(site, "enable", "--fleet", "--route", "n").returncode == 0
    assert ctl(site, "disable").stdout == "nothing is disabled\n"


def test_root_beside_daemons_of_another_user(stack):
    account = unprivileged_account()
    if account is None:
        pytest.skip("only root can start a program as another user")
    stack.configure(ROUTES, workers=1)
    command = [program("leewayctl"), "-c", stack.config, "disable", "--route", "n"]
    # no directory that the daemons could not use
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 3 and "no daemon has run" in first.stderr
    assert not os.path.exists(stack.path("run"))
    os.mkdir(stack.path("run"), 0o755)
    os.chown(stack.path("run"), account.pw_uid, account.pw_gid)
    assert subprocess.run(command, capture_output=True, check=False, umask=0o077).returncode == 0
    assert os.stat(stack.path("run/switches")).st_mode & 0o777 == 0o644


def test_times_that_nobody_means_are_in_nobody_s_way(site):
    client = site.redis.client()
    ctl(site, "disable", "--fleet", "--route", "m")
    key, = client.keys("*:switches:*")
    client.hset(key, "route:m", "9223372036854775807 x")
    assert ctl(site, "disable", "--fleet", "--route", "n").returncode == 0
    assert client.pttl(key) > 0


def test_a_route_without_a_budget_stays_what_it_is(site):
    assert ctl(site, "disable", "--route", "strict").returncode == 0
    assert ctl(site, "disable", "--route", "n").returncode == 0
    await_said(site, OFF)
    assert said(site, "/strict") == "leeway; fwd=bypass; detail=no-budget"


def test_what_is_disabled_is_listed(site):
    assert ctl(site, "disable").stdout == "nothing is disabled\n"
    ctl(site, "disable", "--route", "n")
    run = ctl(site, "disable", "--json", "--fleet", "--refresh")
    found = json.loads(run.stdout)
    assert [item["name"] for item in found["host"]] == ["route:n"]
    assert [item["name"] for item in found["fleet"]] == ["refresh"]
    assert found["fleet"][0]["until"].endswith("Z") and "@" in found["fleet"][0]["by"]
    said_by = ctl(site, "check").stdout
    assert "route:n is disabled on this host by " in said_by
    assert "refresh is disabled for the fleet by " in said_by
    assert "run a query for itself: the route is disabled" in ctl(site, "explain", "/n").stdout
    assert "disabled" not in ctl(site, "explain", "/m").stdout
    lines = ctl(site, "disable").stdout.splitlines()
    assert lines[0].startswith("route:n  on this host  until ")
    assert lines[1].startswith("refresh  for the fleet  until ")
    site.redis.stop()
    run = ctl(site, "disable")
    assert run.returncode == 3 and "Redis does not say" in run.stderr
    assert run.stdout.startswith("route:n  on this host")


def disabled_metrics(text):
    found = re.findall(r'^leeway_disabled\{what="(.*)",scope="(.*)"\} ([01])$', text, re.M)
    return {(what, scope): int(value) for what, scope, value in found}


def test_metrics_show_what_is_disabled(site):
    nothing = {("refresh", "host"): 0, ("refresh", "fleet"): 0}
    something = {("refresh", "host"): 0, ("refresh", "fleet"): 1, ("route:n", "host"): 1}

    def scraped():
        return disabled_metrics(site.ask("/metrics")[2].decode())
    assert scraped() == nothing
    ctl(site, "disable", "--route", "n")
    ctl(site, "disable", "--fleet", "--refresh")
    assert disabled_metrics(ctl(site, "metrics").stdout) == something
    wait_until(lambda: all(scraped() == something for _ in range(12)), "all workers say so")
    site.redis.stop()
    # of the fleet, who has not asked before says nothing
    assert disabled_metrics(ctl(site, "metrics").stdout) == {
        ("refresh", "host"): 0, ("route:n", "host"): 1}
    assert scraped() == something
    site.redis.start()
    ctl(site, "enable", "--route", "n")
    wait_until(lambda: all(scraped() == nothing for _ in range(12)), "a Redis that was emptied "
               "has none")


@pytest.mark.parametrize("arguments, code, why", [
    (("disable", "--route", "x"), 1, "there is no route named 'x'"),
    (("disable", "--route", "n", "--refresh"), 2, "usage:"),
    (("disable", "--fleet"), 2, "usage:"),
    (("disable", "--for", "1s"), 2, "usage:"),
    (("disable", "--route", "x"), 1, "there are: n, m, strict"),
    (("disable", "--route", "/x"), 1, "there is no route named '/x'"),
    (("enable", "--route", "/x"), 1, "there is no route named '/x'"),
    (("disable", "--route", "n", "--for", "8d"), 2, "a duration from 1s to 7d"),
    (("disable", "--route", "n", "--for", "1"), 2, "a duration from 1s to 7d"),
    (("disable", "n"), 2, "usage:"),
    (("enable",), 2, "usage:"),
    (("enable", "--route", "n", "--for", "1h"), 2, "usage:"),
    (("enable", "--route", "n"), 1, "not disabled on this host"),
    (("enable", "--fleet", "--route", "n"), 1, "not disabled for the fleet"),
])
def test_misuse(site, arguments, code, why):
    run = ctl(site, *arguments)
    assert run.returncode == code and why in run.stderr


def test_a_route_is_named_by_its_pattern_too(site):
    assert ctl(site, "disable", "--route", "/n").stdout.startswith("route:n is disabled on this host")
    await_said(site, OFF)
    assert ctl(site, "enable", "--route", "/n").stdout == "route:n is enabled on this host\n"
    assert "nothing is disabled" in ctl(site, "disable").stdout


def test_a_redis_that_is_away_is_told(site):
    site.redis.stop()
    run = ctl(site, "disable", "--fleet", "--route", "n")
    assert run.returncode == 3 and run.stdout == ""
    # this host needs none
    assert ctl(site, "disable", "--route", "n").returncode == 0
    await_said(site, OFF)


def test_a_query_under_way_stores_nothing(stack):
    stack.configure(ROUTES + f"""
route "/gated" {{ name = "gated"  context = "c"
  sql = "select 4 as n from {GATE} -- marker:gated"  shape = value }}
""", workers=1)
    stack.worker = stack.start_worker()
    with stack.gate():
        parked = stack.ask_later("/gated")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        assert ctl(stack, "disable", "--route", "gated").returncode == 0
        wait_until(lambda: "what=route:gated" in stack.worker.log_text(), "it is known")
    status, headers, body = parked.result()
    assert (status, body) == (200, b"4") and "stored" not in headers["cache-status"]
    assert not stack.redis.client().keys("*gated*:entry")


def test_who_holds_the_directory_s_lock_is_not_waited_for_long(site):
    folder = os.open(site.path("run"), os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    assert ctl(site, "disable", "--route", "n").returncode == 0
    os.close(folder)
    await_said(site, OFF)


BROKEN = {"empty": lambda text: b"", "cut": lambda text: text[:len(text) // 2],
          "without its end": lambda text: text.replace(b"end\n", b""),
          "garbage": lambda text: b"\x00\xff\n" * 1000, "behind NULs": lambda text: b"\0" * 9 + text,
          "too long": lambda text: b"route:" + b"z" * 100000 + b" 1 a\n" + text}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_told_and_what_is_known_stays(site, how):
    ctl(site, "disable", "--route", "n")
    await_said(site, OFF)
    path = site.path("run/switches")
    with open(path, "rb") as file:
        text = file.read()
    with open(path, "wb") as file:
        file.write(BROKEN[how](text))
    wait_until(lambda: site.worker.log_text().count(f"error=\"{path} is not whole") == 2,
               "each worker says so, once")
    assert re.search(r'^error .*msg="what is disabled cannot be read" scope=host',
                     site.worker.log_text(), re.MULTILINE)
    await_said(site, OFF)
    run = ctl(site, "check")
    assert run.returncode == 1 and "what is disabled on this host cannot be read" in run.stdout
    assert "\n0 problems" not in run.stdout
    for arguments in (("disable",), ("disable", "--route", "m"), ("enable", "--route", "n")):
        run = ctl(site, *arguments)
        assert run.returncode != 0 and "is not whole" in run.stderr
    # a process that starts knows nothing, and says so
    before = site.worker.children()
    site.worker.send(signal.SIGHUP)
    site.await_replaced(site.worker, before)
    assert site.worker.log_text().count("is not whole") == 4
    await_said(site, "leeway; (hit|fwd=uri-miss)")
    os.unlink(path)
    wait_until(lambda: site.worker.log_text().count("what is disabled can be read again") == 2,
               "they say so")
    assert ctl(site, "disable", "--route", "n").returncode == 0
    await_said(site, OFF)


def test_a_fleet_s_key_of_another_type_is_told_and_what_is_known_stays(site):
    ctl(site, "disable", "--fleet", "--route", "n")
    await_said(site, OFF)
    redis = site.redis.client()
    key, = redis.keys("*:switches:*")
    redis.delete(key)
    redis.set(key, "x")
    wait_until(lambda: len(re.findall(r'^error .*msg="what is disabled cannot be read" scope=fleet '
                                      r'error="WRONGTYPE', site.worker.log_text(),
                                      re.MULTILINE)) == 2, "each worker says so")
    await_said(site, OFF)
    run = ctl(site, "check")
    assert run.returncode == 1
    assert "what is disabled for the fleet cannot be read" in run.stdout
    redis.delete(key)
    await_said(site, "leeway; (hit|fwd=uri-miss)")


def test_a_broken_file_hides_nothing_of_the_fleet(site):
    ctl(site, "disable", "--fleet", "--route", "n")
    ctl(site, "disable", "--route", "m")
    with open(site.path("run/switches"), "wb"):
        pass
    await_said(site, OFF)
    assert "the route is disabled" in ctl(site, "explain", "/n").stdout
    series = ctl(site, "metrics").stdout
    assert 'leeway_disabled{what="route:n",scope="fleet"} 1\n' in series
    assert 'scope="host"' not in series
    assert "route:n" in ctl(site, "check").stdout
    assert "route:n  for the fleet  until" in ctl(site, "disable").stdout
    listed = json.loads(ctl(site, "disable", "--json").stdout)
    assert listed["host"] is None and [off["name"] for off in listed["fleet"]] == ["route:n"]
    ctl(site, "enable", "--fleet", "--route", "n")
    assert ctl(site, "disable").stdout == ("nothing is disabled for the fleet; of this host it is "
                                           "not known\n")
    ctl(site, "disable", "--fleet", "--route", "n")
    redis = site.redis.client()
    key, = redis.keys("*:switches:*")
    redis.delete(key)
    redis.set(key, "x")
    said = ctl(site, "check").stdout
    assert "on this host cannot be read" in said and "for the fleet cannot be read" in said


@pytest.mark.parametrize("alone", [False, True], ids=["pre-forked", "-n 0"])
def test_another_runtime_dir_is_told_of(stack, alone):
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker(*(["-n", "0"] if alone else []))
    ctl(stack, "disable", "--route", "n")
    await_said(stack, OFF)
    with open(stack.config, encoding="utf-8") as file:
        text = file.read()
    with open(stack.config, "w", encoding="utf-8") as file:
        file.write(text.replace(stack.path("run"), stack.path("other")))
    worker.send(signal.SIGHUP)
    await_said(stack, "leeway; (hit|fwd=uri-miss)")
    lines = re.findall(r'^warn .*msg="what was disabled on this host is not in another runtime_dir" '
                       r'what=route:n by=\S+ before=\S+/run now=\S+/other', worker.log_text(),
                       re.MULTILINE)
    assert len(lines) == 1, worker.log_text()
