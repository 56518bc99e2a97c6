# SPDX-License-Identifier: BSD-2-Clause
"""The only clock that says how old a response is is Redis's: the hosts' may show what they like.
And a response that does come too late is counted, whatever let it through."""
import re
import signal
import subprocess
import time

import pytest
from harness.postgres import GATE
from harness.process import signal_each, tree
from harness.wait import wait_until

pytestmark = pytest.mark.transport

ROUTES = f"""
context "c" {{ budget = 60s }}
context "lasting" {{ budget = 60s  stale_if_error = 1h }}
route "/item" {{ context = "c"  sql = "select n from item -- marker:item"  shape = value }}
route "/gated" {{ context = "c"  sql = "select 1 as n from {GATE} -- marker:gated"  shape = value }}
route "/lasting" {{ context = "lasting"  sql = "select n from item -- marker:last"  shape = value }}
"""
MINUTE = 60


def prepare(stack):
    stack.sql("create table item as select 1 as n")


def ask(stack, uri="/item"):
    status, headers, body = stack.ask(uri)
    assert status == 200
    return headers["cache-status"], body


def ttl(stack, uri="/item"):
    """Of a hit; None for anything else."""
    found = re.match(r"leeway; hit; ttl=(-?\d+)", ask(stack, uri)[0])
    return int(found.group(1)) if found else None


def wrong_hosts(stack):
    """One host seven minutes ahead, one seven behind, each with a refresher."""
    hosts = [stack.beside("ahead"), stack.beside("behind")]
    for host, minutes in zip(hosts, (7, -7)):
        host.clock = host.shim()
        host.clock.move_time_of_day(minutes * MINUTE)
        host.configure(ROUTES)
        host.start_worker()
    return hosts


def exceeded(stack):
    _, _, text = stack.ask("/metrics")
    return sum(float(line.split()[-1]) for line in text.decode().splitlines()
               if line.startswith("leeway_budget_exceeded_total{"))


def test_the_shim_moves_the_time_of_day(stack):
    clock = stack.shim()
    clock.move_time_of_day(-7 * MINUTE)
    shown = subprocess.run(["date", "+%s"], env=clock.environment, capture_output=True, check=True)
    assert 6 * MINUTE < time.time() - int(shown.stdout) < 8 * MINUTE


def test_hosts_that_disagree_see_the_same_age(stack):
    prepare(stack)
    ahead, behind = wrong_hosts(stack)
    for first, second in ((ahead, behind), (behind, ahead)):
        stack.redis.client().flushall()
        assert ask(first)[0].endswith("; stored")
        assert ttl(second) >= 55 and ttl(first) >= 55
        stack.entries.age(30)
        assert 20 < ttl(first) < 30 and 20 < ttl(second) < 30
        stack.entries.age(30)
        assert ask(second)[0].startswith("leeway; fwd=stale")
        assert ttl(first) >= 55


def test_refreshers_that_disagree_renew_entries(stack):
    prepare(stack)
    ahead, behind = wrong_hosts(stack)
    ask(ahead)
    for number, host in enumerate((ahead, behind), 2):
        refresher = host.start_refresher()
        stack.sql("update item set n = %s", number)
        stack.entries.age(56)
        wait_until(lambda: ask(behind)[1] == b"%d" % number, "the refresh")  # pylint: disable=W0640
        assert ttl(ahead) >= 50 and ttl(behind) >= 50
        refresher.stop()


def test_a_clock_that_is_set_while_things_run(stack):
    prepare(stack)
    host = stack.beside("jumping")
    clock = host.shim()
    host.configure(ROUTES)
    host.start_worker()
    ask(host)
    with stack.gate():
        crowd = [host.ask_later("/gated") for _ in range(8)]
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        for minutes in (10, -10, 0, -600, 600):
            clock.move_time_of_day(minutes * MINUTE)
            assert 20 < ttl(host) < 60
    assert {later.result()[0] for later in crowd} == {200}
    assert stack.executions("marker:gated") == 1
    assert ttl(host, "/gated") is not None
    assert exceeded(host) == 0


def redis_with_a_clock(stack):
    """Redis's own time of day in the test's hand."""
    clock = stack.shim()
    stack.redis.stop()
    stack.redis.start(environment=stack.environment)
    stack.environment = None
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    return clock, worker


def test_redis_s_clock_set_back_makes_nothing_younger(stack):
    prepare(stack)
    clock, worker = redis_with_a_clock(stack)
    ask(stack)
    stack.entries.age(25)
    clock.move_time_of_day(-30)
    stack.redis.client().client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: 'msg="redis\'s clock was set back"' in worker.log_text(), "it is noticed")
    assert 25 < ttl(stack) < 36, "25 s of age are 25 s, although its snapshot is in the future now"
    stack.entries.age(36)
    assert ask(stack)[0].endswith("; stored"), "61 s are too many, although the clock says 31"
    assert exceeded(stack) == 0


def test_who_comes_after_a_step_back_is_told_of_it(stack):
    """A worker that is started when all is over, as after a crash."""
    prepare(stack)
    clock, worker = redis_with_a_clock(stack)
    ask(stack)
    stack.entries.age(25)
    clock.move_time_of_day(-30)
    stack.redis.client().client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: stack.redis.client().get("leeway:clock"), "it is told")
    later = stack.beside("later")
    later.configure(ROUTES, workers=1)
    later.start_worker()
    assert "set back" not in later.processes[0].log_text()
    assert 25 < ttl(later) < 36
    stack.entries.age(36)
    assert ask(later)[0].endswith("; stored")
    assert worker.children()
    stack.redis.client().set("leeway:clock", "garbage")
    stack.kill_child(worker)
    stack.expect_deaths = True
    assert ask(stack)[1] == b"1"


def test_word_of_a_step_back_that_is_lost(stack):
    """By hand, by eviction, or with a server that comes back with older data."""
    prepare(stack)
    clock, _ = redis_with_a_clock(stack)
    client = stack.redis.client()
    ask(stack)
    stack.entries.age(25)
    clock.move_time_of_day(-30)
    wait_until(lambda: client.get("leeway:clock"), "it is told")
    assert client.ttl("leeway:clock") == -1, "what has an expiry may be evicted"
    client.delete("leeway:clock")
    wait_until(lambda: client.get("leeway:clock"), "it is told again")
    later = stack.beside("later")
    later.configure(ROUTES, workers=1)
    later.start_worker()
    assert 20 < ttl(later) < 36
    stack.entries.age(36)
    assert ask(later)[0].endswith("; stored")


@pytest.mark.parametrize("last", [0, 1], ids=["who knows more", "who knows less"])
def test_two_steps_of_which_one_host_has_seen_both(stack, last):
    """Whoever tells last, the word covers both."""
    prepare(stack)
    clock, worker = redis_with_a_clock(stack)
    ask(stack)
    stack.entries.age(35)
    signal_each(tree(worker.pid), signal.SIGSTOP)
    clock.move_time_of_day(-30)
    host = stack.beside("less")
    host.configure(ROUTES, workers=1)
    workers = [worker, host.start_worker()]
    signal_each(tree(workers[1].pid), signal.SIGSTOP)
    clock.move_time_of_day(-33)
    for one in (workers[1 - last], workers[last]):
        signal_each(tree(one.pid), signal.SIGCONT)
        wait_until(lambda one=one: "clock was set back" in one.log_text(), "it is noticed")
    client = stack.redis.client()

    def ahead():
        return int((client.get("leeway:clock") or "0 0").split()[1])
    wait_until(lambda: ahead() > 32e6, "the word is of both steps")
    later = stack.beside("later")
    later.configure(ROUTES, workers=1)
    later.start_worker()
    assert ttl(later) < 26
    stack.entries.age(26)
    assert ask(later)[0].endswith("; stored")


def test_redis_s_clock_set_forward_makes_things_older_at_most(stack):
    prepare(stack)
    clock, _ = redis_with_a_clock(stack)
    ask(stack, "/lasting")
    clock.move_time_of_day(MINUTE)
    stack.redis.client().client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: ask(stack, "/lasting")[0].startswith("leeway; fwd=stale"), "it is expired")
    assert 50 < ttl(stack, "/lasting") < 60
    assert exceeded(stack) == 0


def test_a_response_that_is_written_too_late_is_counted(stack):
    """The decision was right; then the process was held up."""
    prepare(stack)
    shim = stack.shim()
    stack.configure('context "c" { budget = 4s  refresh_at = 1 }\n'
                    'route "/item" { context = "c"  sql = "select n from item"  shape = value }')
    stack.start_worker()
    ask(stack)
    stack.entries.age(2)
    assert ttl(stack) is not None and exceeded(stack) == 0
    shim.delay_writes(3)
    assert ttl(stack) is not None
    shim.delay_writes(0)
    wait_until(lambda: exceeded(stack) == 1, "it is counted, once it is written")


def test_a_response_that_was_decided_wrongly_is_counted(stack):
    prepare(stack)
    stack.configure(ROUTES)
    stack.worker_program = "tests/integration/blind-worker"
    stack.start_worker()
    ask(stack, "/lasting")
    assert ttl(stack, "/lasting") is not None and exceeded(stack) == 0
    stack.entries.age(61)
    assert ttl(stack, "/lasting") is not None, "this worker does not see how old it is"
    wait_until(lambda: exceeded(stack) == 1, "it is counted, once it is written")
    stack.entries.age(3600)
    ask(stack, "/lasting")
    wait_until(lambda: exceeded(stack) == 2, "it is counted, once it is written")
