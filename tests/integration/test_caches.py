# SPDX-License-Identifier: BSD-2-Clause
"""The promise behind shared caches: a row that changes all the time is read by browsers, each with
a cache, through those of contrib/web, while queries are slow, no refresher runs and leeway is away.
Nobody sees a response beyond its budget, whether shared caches may keep it (edge) or not."""
import collections
import functools
import json
import os
import random
import signal
import threading
import time

import pytest

from harness import http, report
from harness.caches import CACHES
from harness.client_cache import ClientCache
from harness.ticker import READER_DELAY_S, Ticker
from harness.wait import wait_until

BUDGET_S = 8
# 6 s fresh and 2 s stale, or all of it fresh: whole seconds, so that no rounding is to spare
CONTEXTS = {"edge": "edge = true  refresh_at = 0.75", "edge-fresh": "edge = true  refresh_at = 1",
            "private": "refresh_at = 0.75"}
SLEEP = "pg_sleep(case when random() < 0.1 then 0.6 else random() * 0.06 end)"
ROUTES = "".join(f"""
context "{name}" {{ budget = {BUDGET_S}s  {settings} }}
route "/{name}/{{key}}" {{
  context = "{name}"
  param "key" {{ type = int }}
  sql = "select n, extract(epoch from statement_timestamp()) as asked, $1::bigint as key,
                repeat('-', 2000) as long_enough_to_be_compressed
           from tick, {SLEEP}"
  shape = object
}}
""" for name, settings in CONTEXTS.items())
# 127.0.0.2 stands for the world outside; leeway itself would let it in
SETTINGS = 'metrics_allow = {"127.0.0.1", "127.0.0.2"}\nsocket_mode = 0666\n'
BROWSERS = 4  # for each context
ACCEPTED = (None, "gzip, deflate, br, zstd")  # by one browser and by the next
KEYS = 40
ROWS = []


class Readers:
    """Browsers that look at one page after the other."""

    def __init__(self, port, ticker):
        self.port = port
        self.ticker = ticker
        self.kinds = collections.defaultdict(collections.Counter)
        self.oldest = collections.Counter()
        self.late = collections.defaultdict(list)
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.running = []

    def __enter__(self):
        self.running = [http.Background(functools.partial(self.run, context, ACCEPTED[number % 2]))
                        for context in CONTEXTS for number in range(BROWSERS)]
        return self

    def __exit__(self, *exception):
        self.stopping.set()
        for reader in self.running:
            reader.result()

    def run(self, context, accepts):
        browser = ClientCache(self.port, accepts)
        while not self.stopping.wait(0.003):
            use = browser.get(f"/{context}/{random.randrange(KEYS)}")
            with self.lock:
                self.judge(context, use)

    def judge(self, context, use):
        kinds = self.kinds[context]
        if use is None or use.response.status != 200:
            kinds["failed"] += 1
            return
        lag = self.ticker.lag(json.loads(use.response.body), use.moment)
        kinds["seen"] += 1
        kinds[use.source] += 1
        kinds[use.response.headers.get("content-encoding", "plain")] += 1
        if use.source in ("network", "304") and use.response.cache.endswith("; hit"):
            kinds["shared"] += 1
        self.oldest[context] = max(self.oldest[context], lag)
        if lag >= BUDGET_S + READER_DELAY_S:
            self.late[context].append((use.source, lag, use.response.headers))

    def are_enough(self):
        with self.lock:
            return all(self.kinds[context]["cache"] > 500 and self.kinds[context]["network"] > 100
                       for context in CONTEXTS) and \
                self.kinds["edge"]["shared"] > 100 and self.kinds["edge"]["cache, stale"] > 100

    def rows(self, name):
        for context in CONTEXTS:
            kinds = self.kinds[context]
            yield (name, context, kinds["seen"], kinds["cache"] + kinds["cache, stale"],
                   kinds["shared"], kinds["304"], kinds["failed"],
                   f"{self.oldest[context] / BUDGET_S:.3f}", len(self.late[context]))


@pytest.fixture(name="rows", scope="module")
def write_table():
    yield ROWS
    report.table("caches", ("cache", "context", "responses seen", "from the browser's cache",
                            "from the shared cache", "304", "failed while leeway was away",
                            "oldest, in budgets", "beyond the budget"), ROWS)


@pytest.fixture(name="cached")
def serve(stack):
    made = []

    def start(name, changes=None):
        stack.configure(ROUTES, settings=SETTINGS, postgres="slots = 20")
        stack.worker = stack.start_worker()
        stack.refresher = stack.start_refresher()
        made.append(CACHES[name](stack, changes=changes))
        return made[0]

    yield start
    for cache in made:
        cache.stop()


def pass_time(seconds):
    """What is tested is what happens meanwhile."""
    time.sleep(seconds)


def let_no_refresher_run(stack):
    """So that responses grow as old as they may."""
    children = stack.refresher.children()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    pass_time(BUDGET_S + 1)
    for pid in children:
        os.kill(pid, signal.SIGCONT)


def be_away(stack):
    stack.worker.stop()
    pass_time(2.5)
    stack.worker = stack.start_worker(name="worker-again")


@pytest.mark.parametrize("name", CACHES)
def test_nobody_sees_a_response_beyond_its_budget(stack, cached, rows, name):
    cached(name)
    ticker = Ticker(stack)
    try:
        with Readers(stack.port, ticker) as readers:
            pass_time(3)
            let_no_refresher_run(stack)
            be_away(stack)
            wait_until(readers.are_enough, "enough is seen", 60)
    finally:
        ticker.stop()
    rows.extend(readers.rows(name))
    assert not any(readers.late.values()), {context: (len(late), late[:3])
                              for context, late in readers.late.items()}
    assert readers.kinds["private"]["shared"] == 0
    assert readers.kinds["edge"]["gzip"] > 0 and readers.kinds["edge"]["plain"] > 0


@pytest.mark.parametrize("name", CACHES)
def test_what_comes_out_of_a_shared_cache(stack, cached, name):
    cached(name)
    Ticker(stack).stop()
    from_shared = f", {name.lower()}; hit"
    first, second = stack.get("/edge/1"), stack.get("/edge/1")
    assert not first.cache.endswith(from_shared) and second.cache.endswith(from_shared)
    assert second.body == first.body and second.headers["etag"] == first.headers["etag"]
    assert second.control == "no-cache" if name == "nginx" else int(second.headers["age"]) >= 1
    head = stack.get("/edge/1", method="HEAD")
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", first.headers["etag"])
    assert stack.get("/edge/1", If_None_Match=first.headers["etag"]).status == 304
    assert stack.get("/edge/1", method="DELETE").status == 405
    for path in ("/private/1", "/edge/x", "/nowhere"):
        for _ in range(2):
            answer = stack.get(path)
            assert not (answer.cache or "").endswith(from_shared), path
            assert answer.control.startswith("private, " if answer.status == 200 else "no-store")


# what makes the samples right, taken out of them
CARELESS = {
    "nginx": {"    fastcgi_ignore_headers Cache-Control Expires Vary;\n": "",
              "    fastcgi_no_cache $leeway_not_stored $leeway_not_cached;\n": "",
              '    HIT "no-cache";\n': ""},
    "Varnish": {"beresp.grace - 0.5s": "beresp.grace", "beresp.ttl - 0.5s": "beresp.ttl",
                "obj.age + 1.5s": "obj.age"},
}


@pytest.mark.parametrize("name", CACHES)
def test_without_these_settings_somebody_does(stack, cached, name):
    """That is, the test above would see it."""
    cached(name, CARELESS[name])
    ticker = Ticker(stack)
    try:
        with Readers(stack.port, ticker) as readers:
            wait_until(lambda: readers.late["edge-fresh"], "one is seen beyond its budget", 60)
    finally:
        ticker.stop()
    assert not readers.late["private"]
