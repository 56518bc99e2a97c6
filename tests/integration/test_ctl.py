# SPDX-License-Identifier: BSD-2-Clause
"""leewayctl as an operator calls it: what it says, what it changes, how it exits."""
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest

from harness.postgres import GATE
from harness.stack import program
from harness.wait import PATIENCE_S, wait_until

OK, BAD, USAGE, UNREACHABLE = 0, 1, 2, 3
ROUTES = f"""
context "c" {{ budget = 60s }}
context "lenient" {{ budget = 2m  refresh_at = 0.5  stale_if_error = 1h  edge = true }}
context "never" {{ budget = 0s }}
route "/items/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}}
route "/items" {{ context = "lenient"  sql = "select id, name from items"  shape = array }}
route "/echo" {{
  context = "c"
  param "q" {{ type = text }}
  sql = "select $1::text as q, n from (select 1 as n from {GATE}) g -- marker:echo"
  shape = object
}}
route "/mine" {{
  context = "never"
  param "user" {{ type = text  from = "REMOTE_USER" }}
  sql = "select $1::text"
  shape = value
}}
route "/fails" {{ context = "c"  sql = "select 1 / (id - id) from items"  shape = value }}
route "/large" {{ context = "c"  sql = "select repeat('x', 5000)"  shape = value }}
"""


@pytest.fixture(name="ctl")
def make_ctl(stack):
    """ctl("explain", "/x"): the finished process; ctl.json(...): its output read."""
    stack.sql("create table items (id int primary key, name text)")
    stack.sql("insert into items select i, 'item ' || i from generate_series(1, 5) i")
    stack.configure(ROUTES, settings="max_object = 4kb")
    stack.redis.client().config_set("maxmemory-policy", "volatile-lru")
    stack.redis.client().config_set("maxmemory", "1gb")  # as check would have it

    def call(*arguments):
        run = stack.run("leewayctl", "-c", stack.config, *arguments)
        assert "Sanitizer" not in run.stderr and "runtime error" not in run.stderr, run.stderr
        return run

    def call_json(*arguments):
        run = call("--json", *arguments)
        assert run.returncode == OK, run.stderr
        return json.loads(run.stdout)

    call.json = call_json
    return call


def test_help_version_and_misuse(stack, ctl):
    assert ctl("-h").returncode == OK and "explain" in ctl("-h").stdout
    assert re.fullmatch(r"leewayctl [0-9.]+\n", ctl("-V").stdout)
    for arguments in ((), ("nonsense",), ("explain",), ("explain", "/a", "/b"), ("purge",),
                      ("purge", "--route", "items", "/items"), ("budgets", "now"),
                      ("explain", "-v", "novalue", "/mine"), ("top", "-i", "1ms", "--once"),
                      ("top", "--json"), ("check", "--nonsense"), ("metrics", "--json")):
        run = ctl(*arguments)
        assert (run.returncode, run.stdout) == (USAGE, ""), arguments
        assert "usage: leewayctl" in run.stderr
    stack.configure(ROUTES + "nonsense = 1\n")
    run = ctl("budgets")
    assert run.returncode == BAD and re.search(r"leeway.conf:\d+: unknown key", run.stderr)


@pytest.mark.parametrize("arguments, why", [
    (("disable", "--route"), "option '--route' requires an argument"),
    (("purge", "--nonsense", "/items"), "unrecognized option '--nonsense'"),
    (("explain", "-v"), "option requires an argument -- 'v'"),
])
def test_each_message_says_who_speaks(ctl, arguments, why):
    run = ctl(*arguments)
    assert run.returncode == USAGE
    assert f"leewayctl: {arguments[0]}: {why}\n" in run.stderr
    assert [line for line in run.stderr.splitlines()
            if not line.startswith(("leewayctl: ", "usage: "))] == []


def test_check_of_a_sound_configuration(ctl):
    run = ctl("check")
    assert run.returncode == OK, run.stdout
    assert run.stdout.endswith("0 problems, 0 warnings\n")
    found = ctl.json("check")
    assert (found["problems"], found["warnings"]) == (0, 0)
    texts = {finding["subject"]: finding["text"] for finding in found["findings"]}
    assert texts["/items/{id}"] == "items.id: object of id integer, name text"
    assert "max_connections" in texts["postgres"] and "s from this machine's" in texts["redis clock"]


def test_check_names_each_fault(stack, ctl):
    stack.configure("""
route "/none" { sql = "select * from nowhere"  shape = array }
route "/twice" { sql = "select 1 as a, 2 as a"  shape = object }
route "/typed/{day}" {
  param "day" { type = date }
  sql = "select 1 as n where $1::int = 1"
  shape = value
}
route "/posts/{id}/{slug}" {
  param "id" { type = int }
  param "slug" { }
  sql = "select $1::int as id, '$2' as n -- $2"
  shape = object
}
route "/syntax" { sql = "select 1 frm t"  shape = array }
route "/wide" { sql = "select 1, 2"  shape = value }
""")
    stack.redis.client().config_set("maxmemory-policy", "allkeys-lru")
    run = ctl("--json", "check")
    assert run.returncode == BAD
    found = [(finding["level"], finding["subject"], finding["text"])
             for finding in json.loads(run.stdout)["findings"] if finding["level"] != "ok"]
    assert [(level, subject) for level, subject, _ in found] == [
        ("problem", "redis"), ("problem", "/none"), ("problem", "/twice"),
        ("warning", "/typed/{day}"), ("warning", "/posts/{id}/{slug}"), ("problem", "/syntax"),
        ("problem", "/wide")]
    assert found[0][2].endswith("use volatile-lru")
    assert found[1][2] == 'relation "nowhere" does not exist'
    assert '"a"' in found[2][2]
    assert found[3][2] == "$1, day, is declared date, and Postgres takes it for integer"
    assert found[4][2] == "$2, slug, is declared and the query does not use it"


def test_check_warns_of_a_redis_without_maxmemory(stack, ctl):
    stack.redis.client().config_set("maxmemory", 0)
    found = ctl.json("check")["findings"]
    assert [finding["text"] for finding in found if finding["level"] == "warning"] == [
        "it has no maxmemory: what clients ask for may fill the machine's memory"]


def test_check_warns_of_a_header_that_is_trusted(stack, ctl):
    stack.configure('route "/me" { param "u" { from = "HTTP_X_USER" } sql = "select $1"  shape = value }')
    found = [finding for finding in ctl.json("check")["findings"] if finding["level"] != "ok"]
    assert [(finding["level"], finding["subject"]) for finding in found] == \
        [("warning", "configuration")]
    assert re.match(r"\S+/leeway\.conf:\d+: param \"u\": HTTP_X_USER is a request header",
                    found[0]["text"])


def test_check_without_servers(stack, ctl):
    stack.redis.stop()
    stack.postgres_conninfo = f"host={stack.folder} dbname=none"
    stack.configure(ROUTES)
    run = ctl("check")
    assert run.returncode == UNREACHABLE
    assert re.findall(r"^unreachable +(\w+)", run.stdout, re.M) == ["redis", "postgres"]


def test_budgets(stack, ctl):
    stack.configure(ROUTES, settings='mount = "/api"')
    rows = [line.split(" | ") for line in ctl("budgets").stdout.splitlines()
            if line.startswith("| `GET")]
    assert [row[0] for row in rows] == ["| `GET /api" + pattern + "`" for pattern in (
        "/items/{id}", "/items", "/echo", "/mine", "/fails", "/large")]
    assert rows[1][1:] == ["2m", "12s", "62m", "after 1m", "shared and private |"]
    assert rows[3][1] == "as it is in the database"
    found = {row["route"]: row for row in ctl.json("budgets")}
    assert found["items"] == {
        "path": "/api/items", "route": "items", "context": "lenient", "budget_ms": 120000,
        "refresh_after_ms": 60000, "negative_budget_ms": 12000, "stale_if_error_ms": 3600000,
        "shared_caches": True}
    assert found["mine"]["budget_ms"] == 0


def would(ctl, url):
    return ctl.json("explain", url)["request_would"]


def test_explain_follows_an_entry_through_its_life(stack, ctl):
    stack.start_worker()
    before = ctl.json("explain", "/items/007?x=1")
    assert before["parameters"] == {"id": "7"} and before["entry"] is None
    assert before["lease"] == "free"
    assert before["request_would"].startswith("run the query")
    _, headers, body = stack.ask("/items/3")
    found = ctl.json("explain", "/items/3")
    assert found["key"] + ":entry" == stack.entries.only().key
    entry = found["entry"]
    assert (entry["state"], entry["status"]) == ("fresh", 200)
    assert (entry["etag"], entry["body_bytes"]) == (headers["etag"], len(body))
    assert 55 < entry["ttl_seconds"] < 60 and entry["age_seconds"] + entry["ttl_seconds"] == 60
    assert found["request_would"] == "be served from Redis at once"
    stack.entries.age(55)
    assert would(ctl, "/items/3") == "be served from Redis at once, and ask for a refresh"
    stack.ask("/items/3")
    assert "refresh is queued" in would(ctl, "/items/3")
    stack.entries.age(10)
    assert ctl.json("explain", "/items/3")["entry"]["state"] == "expired"
    assert would(ctl, "/items/3").startswith("run the query")
    text = ctl("explain", "http://shop.example/items/3").stdout
    assert re.search(r"^entry +expired: status 200, age 6\d", text, re.M)


@pytest.fixture(name="outage")
def make_outage(stack):
    """Makes Postgres go away; it is there again after the test in any case."""
    yield stack.postgres.stop
    if not stack.postgres.process.is_running():
        stack.postgres.start()


@pytest.mark.parametrize("asked", ["the workers know", "they do not know yet", "none runs"])
def test_explain_while_postgres_is_down(stack, ctl, outage, asked):
    """What it says a request would get is what the request gets."""
    worker = stack.start_worker()
    for path, age in (("/items", 60), ("/items/2", 70), ("/items/1", 0)):
        assert stack.ask(path)[0] == 200
        stack.entries.age(age)
    outage()
    if asked == "the workers know":
        assert stack.ask("/items/4")[0] == 503
    elif asked == "none runs":
        worker.stop()
    wanted = {
        "/items/1": (OK, "be served from Redis at once"),
        "/items/2": (UNREACHABLE, "get 503: PostgreSQL cannot be reached"),
        "/items/3": (UNREACHABLE, "get 503: PostgreSQL cannot be reached"),
        "/items": (UNREACHABLE, "be served the old response (stale_if_error): PostgreSQL cannot "
                                "be reached"),
        "/mine": (UNREACHABLE, "get 503: PostgreSQL cannot be reached"),
    }
    for path, (code, said) in wanted.items():
        run = ctl("explain", "-v", "REMOTE_USER=ann", path)
        assert f"request     would {said}\n" in run.stdout, (path, run.stdout, run.stderr)
        assert run.returncode == code, (path, run.stderr)
    if asked != "none runs":
        assert [stack.ask(path)[0] for path in ("/items/1", "/items/2", "/items/3", "/items")] == [
            200, 503, 503, 200]
    stack.redis.stop()
    assert "would get 503: PostgreSQL cannot be reached" in ctl("explain", "/items/1").stdout


def test_explain_by_somebody_whom_postgres_does_not_take(stack, ctl):
    """Who does not connect as the daemons do does not know for them."""
    stack.postgres_conninfo = stack.postgres_conninfo.replace("user=leeway ", "")
    stack.environment = {**os.environ, "PGUSER": "leeway"}
    stack.configure(ROUTES)
    stack.start_worker()
    stack.ask("/items/1")
    run = stack.run("leewayctl", "-c", stack.config, "explain", "/items/3",
                    environment={**os.environ, "PGUSER": "nobody-there"})
    assert run.returncode == UNREACHABLE
    assert ("would run a query if a worker reaches PostgreSQL: this command, which is another "
            "user's, does not") in run.stdout, run.stdout + run.stderr


def test_explain_before_anything_is_verified(stack, ctl, outage):
    outage()
    run = ctl("explain", "/items/3")
    assert run.returncode == UNREACHABLE
    assert "would get 503 unless a worker has verified the database" in run.stdout


def test_explain_sees_who_is_asking(stack, ctl):
    stack.start_worker()
    with stack.gate():
        asked = stack.ask_later("/echo?q=a")
        wait_until(lambda: stack.executions("marker:echo") == 1, "the query is under way")
        assert ctl.json("explain", "/echo?q=a")["lease"] == "held"
        assert would(ctl, "/echo?q=a") == "wait for the query that is under way"
    asked.result()
    stack.ask("/fails")
    assert "just failed" in would(ctl, "/fails")
    stack.ask("/large")
    assert "too large" in would(ctl, "/large")


def test_explain_changes_nothing(stack, ctl):
    stack.start_worker()
    stack.ask("/items/3")
    with stack.redis.monitor() as seen:
        for uri in ("/items/3", "/items/4", "/echo?q=a"):
            ctl("explain", uri)
    assert not seen.commands("SET", "DEL", "EVAL", "LPUSH", "PEXPIRE", "PUBLISH")
    assert stack.executions("marker:item") == 1


@pytest.mark.parametrize("command", [
    ("disable", "--route", "items"), ("disable", "--refresh", "--for", "1s"), ("disable",),
    ("explain", "/items/1"), ("budgets",), ("queue", "--json")])
def test_options_stand_before_or_behind_the_command(stack, ctl, command):
    stack.start_worker()
    run = stack.run("leewayctl", *command, "-c", stack.config)
    assert run.returncode == OK, run.stderr
    name, *rest = command
    run = stack.run("leewayctl", name, "-c", stack.config, *rest)
    assert run.returncode == OK, run.stderr
    run = stack.run("leewayctl", *command, "-c")
    assert run.returncode == USAGE and f"usage: leewayctl [-c FILE] {name}" in run.stderr
    assert ctl("explain", "--", "-c").returncode == BAD  # a URL, of no route


def test_explain_of_what_is_refused(stack, ctl):
    for arguments, status in ((("/items/x",), 400), (("/nothing",), 404), (("/mine",), 401),
                              (("/items/1#x",), 400),
                              (("/items/1?id=%",), 0), (("-v", "REMOTE_USER=joe", "/mine"), 0)):
        run = ctl("--json", "explain", *arguments)
        assert json.loads(run.stdout)["status"] == status, arguments
        assert run.returncode == (BAD if status else OK)
        assert ctl("explain", *arguments).returncode == (BAD if status else OK)
    twice = ctl("explain", "-v", "REMOTE_USER=ann", "-v", "REMOTE_USER=bob", "/mine")
    assert twice.returncode == USAGE and "usage:" in twice.stderr
    stack.redis.stop()
    run = ctl("explain", "/items/3")
    assert run.returncode == UNREACHABLE
    assert "would run the query: Redis cannot be reached" in run.stdout
    assert NOT_KNOWN in run.stdout
    assert NOT_KNOWN not in ctl("explain", "-v", "REMOTE_USER=joe", "/mine").stdout, "asks no Redis"


NOT_KNOWN = "redis       cannot be reached or refuses: entry, lease and refresh are not known\n"


def test_explain_while_redis_and_postgres_are_away(stack, ctl, outage):
    stack.start_worker()
    assert stack.ask("/items/3")[0] == 200
    stack.redis.stop()
    outage()
    run = ctl("explain", "/items/3")
    assert run.returncode == UNREACHABLE
    assert NOT_KNOWN + "request     would get 503: PostgreSQL cannot be reached\n" in run.stdout


def test_a_url_without_the_mount_is_told_of_it(stack, ctl):
    hint = "There is no such route. A URL begins with the mount, /api.\n"
    stack.configure(ROUTES, settings='mount = "/api"')
    assert hint in ctl("explain", "/items/3").stdout
    assert hint in ctl("purge", "/items/3").stderr
    for url in ("/api/nothing", "/api/items/x"):
        run = ctl("explain", url)
        assert run.returncode == BAD and "mount" not in run.stdout
    stack.configure(ROUTES)
    assert "mount" not in ctl("explain", "/nothing").stdout


ODD_URLS = ("/items/1", "/items/007", "/items/x", "/items/", "/items//", "/items/1/", "/items/1/2",
            "/items/%31", "/%69tems/1", "/items/1?id=%", "/items?x=%", "/items/1#", "/items#a?b",
            "/echo", "/echo?q", "/echo?q=a&q=a", "/echo?q=%00", "/echo?q=%ff", "/echo?q=" + "a" * 300,
            "/mine", "/nothing", "/", "//", "/.", "/../items", "/items/.", "/items%2f1",
            "/health", "/health/", "/health?x", "/%68ealth", "/metrics", "/metrics?x=%", "/metricsx",
            "/ready", "/ready/", "http://shop.example/items/1", "http://shop.example",
            "/items?" + "x" * (8192 - 7), "/items?" + "x" * (8192 - 6), "/health?" + "x" * 9000)


@pytest.mark.parametrize("mount", ["/", "/api/v1"])
def test_explain_refuses_what_a_worker_refuses(stack, ctl, mount):
    """One code understands a request for both."""
    stack.configure(ROUTES, settings=f'mount = "{mount}"')
    stack.start_worker()
    below = "" if mount == "/" else mount
    urls = [url if url.startswith("http") else below + url for url in ODD_URLS]
    urls += [] if mount == "/" else ["/items/1", "/api/v17/items/1", "/api/v1", "/api/%761/items/1",
                                     "/api/%761/health", "/health"]
    for url in urls:
        run = ctl("explain", "--json", url)
        found = json.loads(run.stdout)
        status, _, body = stack.ask(url)
        if found["status"] != 0:
            assert (status, json.loads(body)["detail"]) == (found["status"], found["detail"]), url
            assert run.returncode == BAD
        elif found["built_in"] is not None:
            assert status == 200 and run.returncode == OK, url
            kinds = {"health": b'{"status":"ok"}', "ready": b'{"status":"ready"}',
                     "metrics": b"# HELP"}
            assert body.startswith(kinds[found["built_in"]]), url
        else:
            assert status in (200, 404) and found["route"] is not None, url
            assert b"no such route" not in body, url


def test_explain_and_purge_of_what_leeway_answers_itself(ctl):
    assert "answered by leeway itself: health_path" in ctl("explain", "/health").stdout
    purged = ctl("purge", "/health")
    assert purged.returncode == BAD and "answers this path itself" in purged.stderr


def test_queue(stack, ctl):
    stack.start_worker()
    stack.ask("/items/3")
    stack.ask("/echo?q=%1b[2Ja%c2%9b")
    empty = ctl.json("queue")
    assert re.fullmatch(r"[0-9a-f]{16}\.[0-9a-f]{16}", empty.pop("list"))
    assert empty == {"waiting": 0, "oldest_seconds": None, "refreshers": [], "set_aside": [],
                     "other_lists": {"count": 0, "waiting": 0}}
    stack.entries.age(55)
    with stack.gate():
        stack.ask("/echo?q=%1b[2Ja%c2%9b")
        assert ctl.json("queue")["waiting"] == 1
        assert re.search(r"^waiting +1, the oldest for \d", ctl("queue").stdout, re.MULTILINE)
        stack.start_refresher()
        wait_until(lambda: stack.executions("marker:echo") == 2, "the refresh is under way")
        stack.ask("/items/3")
        found = ctl.json("queue")
        assert found["waiting"] == 1 and found["oldest_seconds"] < 20
        refresher, = found["refreshers"]
        assert refresher["alive"]
        assert (refresher["job"]["route"], refresher["job"]["parameters"]) == \
            ("echo", ["\x1b[2Ja\x9b"])
        # nothing that could steer a terminal
        assert " (alive): echo \\x1b[2Ja\\x9b\n" in ctl("queue").stdout
    wait_until(lambda: ctl.json("queue")["waiting"] == 0, "all is done")
    stack.redis.stop()
    run = ctl("queue")
    assert (run.returncode, run.stdout) == (UNREACHABLE, "")
    assert "leewayctl: the queue is not known: Redis cannot be reached\n" in run.stderr


def test_purge(stack, ctl):
    stack.start_worker()
    for uri in ("/items/1", "/items/2", "/items", "/echo?q=a"):
        stack.ask(uri)
    assert ctl("purge", "/items/1").stdout == "1 purged\n"
    assert ctl("purge", "/items/1").stdout == "0 purged\n"
    assert [entry.key.split(".")[0] for entry in stack.entries.all()] == \
        ["leeway:{echo", "leeway:{items", "leeway:{items"]
    # the other route's name begins with this one's
    assert ctl.json("purge", "--route", "items") == {"purged": 1}
    assert len(stack.entries.keys("items.id")) == 1
    assert ctl.json("purge", "--route", "items.id") == {"purged": 1}
    assert len(stack.entries.keys()) == 1
    run = ctl("purge", "--route", "nothing")
    assert run.returncode == BAD
    assert run.stderr == ("leewayctl: there is no route named 'nothing'; there are: items.id, items, "
                          "echo, mine, fails, large\n")
    assert ctl("purge", "/nothing").returncode == BAD
    # a pattern does as well
    assert ctl.json("purge", "--route", "/echo") == {"purged": 1}
    stack.redis.stop()
    for arguments in (("/items/1",), ("--route", "items")):
        run = ctl("purge", *arguments)
        assert (run.returncode, run.stdout) == (UNREACHABLE, "")
        assert "leewayctl: nothing was purged: Redis cannot be reached\n" in run.stderr


def test_purge_refuses_a_query_that_is_under_way(stack, ctl):
    stack.start_worker()
    with stack.gate():
        asked = stack.ask_later("/echo?q=a")
        wait_until(lambda: stack.executions("marker:echo") == 1, "the query is under way")
        assert ctl("purge", "--route", "echo").stdout == "1 purged\n"
    assert asked.result()[0] == 200
    assert not stack.entries.keys()


def test_purge_among_many_keys_shows_how_far_it_is(stack, ctl):
    stack.start_worker()
    client = stack.redis.client()
    client.mset({f"filler:{number}": "" for number in range(20000)})
    stack.ask("/items")
    assert ctl("purge", "--route", "items").stdout == "1 purged\n"
    assert client.dbsize() >= 20000


def test_metrics_are_the_worker_s(stack, ctl):
    stack.start_worker()
    stack.ask("/items/1")

    def names(text):
        return {line.split(" ")[0] for line in text.splitlines() if not line.startswith("#")}

    assert names(ctl("metrics").stdout) == names(stack.ask("/metrics")[2].decode())


def test_without_a_runtime_dir(ctl):
    for command in (("metrics",), ("top", "--once")):
        assert ctl(*command).returncode == UNREACHABLE


def test_top_once(stack, ctl):
    stack.start_worker()
    for _ in range(3):
        stack.ask("/items/1")
    run = ctl("top", "--once", "-i", "100ms")
    assert run.returncode == OK and "\033" not in run.stdout
    assert re.search(r"workers: 2 serving, 0 draining  redis up  postgres up  queue 0", run.stdout)
    assert re.search(r"^/items/\{id\} +0\.0 ", run.stdout, re.M)
    found = ctl.json("top", "--once", "-i", "100ms")
    assert found["workers_serving"] == 2
    assert [row["route"] for row in found["routes"]] == ["/items/{id}"]


def read_terminal(master, text):
    try:
        return text + os.read(master, 65536).decode()
    except OSError:
        return text


def await_shown(master, pattern):
    """In what comes from now on."""
    text = ""
    deadline = time.monotonic() + PATIENCE_S
    while not re.search(pattern, text):
        assert time.monotonic() < deadline, text[-2000:]
        text = read_terminal(master, text)


@contextlib.contextmanager
def top_at(stack, terminal):
    """It is gone at the end, also where nobody reads its terminal any more."""
    with subprocess.Popen([program("leewayctl"), "-c", stack.config, "top", "-i", "200ms"],
                          stdout=terminal, stderr=subprocess.PIPE) as top:
        try:
            yield top
        finally:
            top.kill()


def queue_job(stack, seconds_ago):
    """By Redis's clock, which is nobody else's."""
    client = stack.redis.client()
    queued_ms = int((client.time()[0] - seconds_ago) * 1000)
    client.lpush(stack.jobs(), f'[1,{queued_ms},"items.id","0123456789abcdef",["1"]]')


@pytest.mark.parametrize("hours", [2, -2])
def test_top_survives_a_restart_of_redis(stack, ctl, hours):
    """It is there again, with a clock of its own."""
    assert ctl
    stack.start_worker()
    clock = stack.shim()
    stack.redis.stop()
    stack.redis.start(environment=stack.environment)
    queue_job(stack, 1000)
    master, terminal = pty.openpty()
    with top_at(stack, terminal) as top:
        os.close(terminal)
        await_shown(master, r"queue 1, oldest 10\d\d\.")
        stack.redis.stop()
        await_shown(master, r"queue \?")
        clock.move_time_of_day(3600 * hours)
        stack.redis.start(environment=stack.environment)
        queue_job(stack, 3000)
        await_shown(master, r"queue 1, oldest 30\d\d\.")
        top.send_signal(signal.SIGINT)
        assert top.wait(20) == OK
        assert b"Sanitizer" not in top.stderr.read()
    os.close(master)


def test_top_on_a_terminal(stack, ctl):
    """Two pictures, with requests in between; then it is interrupted and leaves the screen."""
    assert ctl
    stack.start_worker()
    stack.ask("/items/1")
    master, terminal = pty.openpty()
    with top_at(stack, terminal) as top:
        os.close(terminal)
        text = ""
        while not re.search(r"/items/\{id\} +[1-9]", text):
            stack.ask("/items/1")
            text = read_terminal(master, text)
        top.send_signal(signal.SIGINT)
        assert top.wait(20) == OK
        text = read_terminal(master, text)
        assert b"Sanitizer" not in top.stderr.read()
    os.close(master)
    assert text.startswith("\033[?1049h") and text.endswith("\033[?1049l")
