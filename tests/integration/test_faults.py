# SPDX-License-Identifier: BSD-2-Clause
"""Every fault under load, one after another: what clients see meanwhile, how long it takes until
all is normal again, and what is lost. The build's tests/integration/faults.md tells it all."""
import collections
import json
import os
import random
import signal
import threading
import time
from dataclasses import dataclass

import pytest
from harness import fastcgi, report
from harness.ticker import READER_DELAY_S
from harness.wait import wait_until

pytestmark = pytest.mark.transport

HELD_S = 2      # how long a fault lasts
CALM_S = 1      # without a sign of it: all is normal again
BUDGETS = {"hit": 60, "miss": 60, "short": 1, "lenient": 1}
# refused: nobody listens; lost: a connection that was made was cut off without an answer
TROUBLE = ("bypass", "on error", "503", "504", "refused", "lost")
ROUTES = "".join(f"""
context "{name}" {{ budget = {budget}s {'stale_if_error = 1h' if name == 'lenient' else ''} }}
route "/{name}/{{key}}" {{
  context = "{name}"
  param "key" {{ type = int }}
  sql = "select extract(epoch from statement_timestamp()) as asked, $1::int as key, pg_sleep(0.005)"
  shape = object
}}
""" for name, budget in BUDGETS.items())
POSTGRES = "statement_timeout = 1s\n  connect_timeout = 1s\n  slots = 16"


@dataclass
class Answer:
    route: str
    label: str
    sent: float
    took: float
    late: bool


class Load:
    """A few clients that ask all the time, each route as often as any other."""

    def __init__(self, socket):
        self.socket = socket
        self.answers = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(route,), daemon=True)
                        for route in BUDGETS for _ in range(2)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def run(self, route):
        while not self.stopping.wait(0.01):
            key = random.randrange(10 ** 9) if route == "miss" else random.randrange(4)
            sent = time.time()
            label, asked = self.ask(f"/{route}/{key}")
            now = time.time()
            late = asked is not None and label != "on error" and \
                now - asked >= BUDGETS[route] + READER_DELAY_S
            self.answers.append(Answer(route, label, sent, now - sent, late))

    def ask(self, uri):
        try:
            connection = fastcgi.Connection(self.socket)
        except OSError:
            return "refused", None
        try:
            with connection:
                status, headers, body = connection.ask(uri)
        except (OSError, fastcgi.Closed):
            return "lost", None
        if status != 200:
            return str(status), None
        return label_of(headers["cache-status"]), json.loads(body)["asked"]

    def since(self, moment):
        return [answer for answer in list(self.answers) if answer.sent + answer.took >= moment]

    def last_trouble(self, moment):
        """When the last answer was given, from `moment` on, that shows a fault."""
        return max((answer.sent + answer.took for answer in self.since(moment)
                    if answer.label in TROUBLE), default=moment)


def label_of(cache_status):
    for part, label in (("stale-if-error", "on error"), ("detail=stale", "stale"),
                        ("hit", "fresh"), ("bypass", "bypass"), ("collapsed", "collapsed")):
        if part in cache_status:
            return label
    return "computed"


class Faults:
    """Each method does the damage and returns what mends it."""

    def __init__(self, stack):
        self.stack = stack

    def redis_killed(self):
        self.stack.redis.stop()
        return self.stack.redis.start

    def redis_stopped(self):
        self.stack.redis.process.send(signal.SIGSTOP)
        return lambda: self.stack.redis.process.send(signal.SIGCONT)

    def redis_read_only(self):
        self.stack.redis.client().replicaof("127.0.0.1", "1")
        return lambda: self.stack.redis.client().replicaof("no", "one")

    def redis_out_of_memory(self):
        self.stack.redis.client().config_set("maxmemory", 1)
        return lambda: self.stack.redis.client().config_set("maxmemory", 0)

    def redis_evicting(self):
        client = self.stack.redis.client()
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        return lambda: client.config_set("maxmemory", 0)

    def redis_clients_cut_off(self):
        self.stack.redis.client().client_kill_filter(_type="normal", skipme=True)
        self.stack.redis.client().client_kill_filter(_type="pubsub", skipme=True)
        return lambda: None

    def postgres_killed(self):
        self.stack.postgres.stop()
        return self.stack.postgres.start

    def postgres_stopped(self):
        self.stack.postgres.hang()
        return self.stack.postgres.go_on

    def postgres_sessions_ended(self):
        self.stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                       " where datname = current_database() and pid <> pg_backend_pid()")
        return lambda: None

    def refresher_killed(self):
        refresher = self.stack.refresher
        for pid in [refresher.pid, *refresher.children()]:
            os.kill(pid, signal.SIGKILL)
        refresher.wait()

        def start():
            self.stack.refresher = self.stack.start_refresher(name=f"refresher-{time.time_ns()}")
        return start

    def worker_killed(self):
        self.stack.kill_child(self.stack.worker)
        return lambda: None

    def worker_stopped(self):
        pid = self.stack.worker.children()[0]
        os.kill(pid, signal.SIGSTOP)
        return lambda: os.kill(pid, signal.SIGCONT)

    def reloaded(self):
        before = self.stack.worker.children()
        self.stack.worker.send(signal.SIGHUP)
        wait_until(lambda: not set(before) & set(self.stack.worker.children()) and
                   self.stack.worker.has_children(len(before)), "all are replaced")
        return lambda: None

    def reloaded_with_a_broken_file(self):
        with open(self.stack.config, "a", encoding="utf-8") as config:
            config.write("nonsense = 1\n")
        self.stack.worker.send(signal.SIGHUP)
        wait_until(lambda: "configuration not reloaded" in self.stack.worker.log_text(), "refused")
        return lambda: self.stack.configure(ROUTES, workers=4, postgres=POSTGRES)

    def parent_killed(self):
        worker, children = self.stack.worker, self.stack.worker.children()
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), "all end")
        return self.start_worker

    def restarted(self):
        assert self.stack.worker.stop() == 0
        return self.start_worker

    def start_worker(self):
        self.stack.worker = self.stack.start_worker(name=f"worker-{time.time_ns()}")


# what clients may see of each beside normal answers; "lost" only where a process of ours dies
EXPECTED = {
    "redis_killed": {"bypass"}, "redis_stopped": {"bypass"}, "redis_read_only": {"bypass"},
    "redis_out_of_memory": {"bypass"}, "redis_evicting": {"bypass"},
    "redis_clients_cut_off": {"bypass"},
    "postgres_killed": {"503", "on error"}, "postgres_stopped": {"503", "504", "on error"},
    "postgres_sessions_ended": set(),
    "refresher_killed": set(), "worker_killed": {"lost"},
    # what it had asked Postgres for is past a budget of 1 s when it goes on
    "worker_stopped": {"504", "on error"},
    "reloaded": set(), "reloaded_with_a_broken_file": set(),
    "parent_killed": {"lost", "refused"}, "restarted": {"refused"},
}


def summary(answers):
    """"hit: 90 fresh, 1 lost; ...": by route, the most frequent first."""
    routes = []
    for route in BUDGETS:
        labels = collections.Counter(answer.label for answer in answers if answer.route == route)
        routes.append(f"{route}: " + ", ".join(f"{count} {label}"
                                               for label, count in labels.most_common()))
    return "; ".join(routes)


def suffer(name, faults, load):
    """One fault from its beginning until all is normal. A row of the table and what was wrong."""
    begin = time.time()
    mend = getattr(faults, name)()
    time.sleep(HELD_S)
    mended = time.time()
    mend()
    wait_until(lambda: time.time() - load.last_trouble(begin) > CALM_S and
               time.time() - mended > CALM_S, f"all is normal after {name}", 30)
    answers = load.since(begin)
    labels = {answer.label for answer in answers}
    wrong = [f"{name}: {label}" for label in labels & set(TROUBLE) - EXPECTED[name]]
    wrong += [f"{name}: late {answer}" for answer in answers if answer.late]
    row = (name.replace("_", " "), summary(answers),
           f"{max(0.0, load.last_trouble(mended) - mended):.1f} s",
           sum(answer.label == "lost" for answer in answers),
           f"{max(answer.took for answer in answers) * 1000:.0f} ms")
    return row, wrong


def test_each_fault_shows_as_it_should_and_passes(stack):
    stack.expect_deaths = True
    stack.configure(ROUTES, workers=4, postgres=POSTGRES)
    stack.worker = stack.start_worker()
    stack.refresher = stack.start_refresher()
    faults, load = Faults(stack), Load(stack.socket)
    rows, wrong = [], []
    try:
        wait_until(lambda: len(load.answers) > 100, "the load is there")
        for name in EXPECTED:
            row, problems = suffer(name, faults, load)
            rows.append(row)
            wrong += problems
    finally:
        load.stop()
        report.table("faults", ("fault, for 2 s", "answers until normal", "normal again after",
                                "lost", "slowest"), rows)
    assert not wrong
