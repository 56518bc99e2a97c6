# SPDX-License-Identifier: BSD-2-Clause
"""What leeway says, in its log and its tools, holds neither a password nor a client's value; and
it says the same thing only so often."""
import os
import re
import signal

import pytest

from harness.certificates import Certificates
from harness.wait import wait_until

SECRET = "s3cret-horse"
ROUTES = """
context "c" { budget = 60s }
route "/items/{id}" { context = "c"  param "id" { type = text }
                      sql = "select $1::text as t" shape = value }
"""
LINE = re.compile(r"^(?:warn|error|info) time=\S+ pid=\d+ (msg=.*)$", re.MULTILINE)
COUNT = re.compile(r"suppressed=(\d+)")


@pytest.fixture(name="redis_with")
def make_redis_with(stack):
    """Starts the stack's Redis anew with further options."""
    def start(*options):
        stack.redis.stop()
        stack.redis.start(*options)
    return start


MALFORMED = {
    "a space": f"host=db password=my {SECRET}",
    "an unknown keyword": f"host=db password=my {SECRET}=x",
    "a quote": f"host=db password='{SECRET}",
    "a percent sign": f"postgres://u:my%{SECRET}@db/shop",
    "an at sign": f"postgres://u:my@{SECRET}@127.0.0.1/shop",
    "a slash": f"postgres://u:{SECRET}/my@127.0.0.1/shop",
    "a slash behind digits": f"postgres://u:12/{SECRET}@127.0.0.1/shop",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_conninfo_is_not_quoted(stack, kind):
    stack.postgres_conninfo = MALFORMED[kind]
    stack.configure(ROUTES)
    with open(stack.config, encoding="utf-8") as text:
        line = 1 + text.read().split("conninfo")[0].count("\n")
    for program in ("leeway-worker", "leeway-refresher"):
        for options in ("-t",), ():
            ended = stack.run(program, "-c", stack.config, *options)
            assert (ended.returncode, ended.stdout) == (1, "")
            assert ended.stderr.startswith(f"{stack.config}:{line}: conninfo: ")
            assert SECRET not in ended.stderr
    check = stack.run("leewayctl", "-c", stack.config, "check")
    assert (check.returncode, check.stdout, check.stderr) == (1, "", ended.stderr)


def test_a_reload_does_not_quote_a_malformed_conninfo(stack):
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    stack.postgres_conninfo = MALFORMED["a space"]
    stack.configure(ROUTES, workers=1)
    worker.send(signal.SIGHUP)
    wait_until(lambda: "configuration not reloaded" in worker.log_text(), "the refusal is logged")
    assert "behind the value of password" in worker.log_text()
    assert SECRET not in worker.log_text()


# What each is refused with by libpq or by Postgres.
UNREACHABLE = {
    "another password": ("host={folder} user=guarded dbname=postgres password={secret}",
                         "password authentication failed"),
    "another password, as a URI": ("postgres://guarded:{secret}@{uri_folder}/postgres",
                                   "password authentication failed"),
    "no such database": ("host={folder} user=leeway dbname=none password={secret}",
                         "does not exist"),
    "no such role": ("postgres://nobody-s:{secret}@{uri_folder}/postgres", "does not exist"),
    "no server": ("host={folder}/none user=leeway password={secret}", "No such file"),
    "no name": ("postgres://leeway:{secret}@none..invalid/postgres", "translate host name"),
    "a wrong sslmode": ("host={folder} password={secret} sslmode=perhaps", "sslmode"),
    "a wrong number": ("host={folder} password={secret} keepalives=maybe user=leeway "
                       "hostaddr=127.0.0.1 port=1", "keepalives"),
    "hosts and ports": ("host=a,b port=1,2,3 password={secret}", "port"),
    "no such service": ("service=none password={secret}", "service"),
    "wrong options": ("host={folder} user=leeway dbname=postgres password={secret} "
                      "options='-c work_mem=x'", "work_mem"),
}


@pytest.mark.parametrize("kind", UNREACHABLE)
def test_errors_of_a_connection_have_no_password(stack, kind):
    folder = stack.postgres.folder
    conninfo, said = UNREACHABLE[kind]
    stack.sql("drop role if exists guarded; create role guarded login password 'another'")
    stack.postgres_conninfo = conninfo.format(folder=folder, secret=SECRET,
                                              uri_folder=folder.replace("/", "%2F"))
    stack.configure(ROUTES, workers=1)
    test = stack.run("leeway-worker", "-c", stack.config, "-t")
    check = stack.run("leewayctl", "-c", stack.config, "check")
    assert said in check.stdout + check.stderr
    if test.returncode == 0:
        stack.start_worker()
        assert stack.ask("/items/7")[0] == 503
        wait_until(lambda: "cannot connect to postgres" in stack.logs(), "the failure is logged")
        assert said in stack.logs()
    assert SECRET not in stack.logs() + test.stderr + check.stdout + check.stderr


@pytest.fixture(name="guarded")
def make_guarded(stack):
    """Both servers want a password; leeway has them from files."""
    stack.sql(f"drop role if exists guarded; create role guarded login password '{SECRET}'")
    stack.redis.client().config_set("requirepass", SECRET)
    stack.postgres_conninfo = stack.postgres_conninfo.replace("user=leeway", "user=guarded")
    yield stack
    stack.sql("drop owned by guarded cascade; drop role guarded")


def write_passwords(stack, redis=SECRET, postgres=SECRET, mode=0o600):
    for name, password in (("redis.pw", redis), ("postgres.pw", postgres)):
        with open(stack.path(name), "w", encoding="utf-8") as out:
            out.write(password + "\n")
        os.chmod(stack.path(name), mode)


def configure_guarded(stack, **settings):
    stack.configure(ROUTES, redis='password_file = "redis.pw"',
                    postgres='password_file = "postgres.pw"', **settings)


def is_hit(stack):
    return "leeway; hit" in stack.ask("/items/7")[1].get("cache-status", "")


@pytest.mark.parametrize("count", (1, 0))
def test_passwords_come_from_files_and_are_read_again(guarded, count):
    stack = guarded
    write_passwords(stack, redis="wrong-s3cret-horse", postgres="wrong-s3cret-horse")
    configure_guarded(stack, workers=1)
    worker = stack.start_worker("-n", str(count))
    assert stack.ask("/items/7")[0] == 503
    write_passwords(stack)
    worker.send(signal.SIGHUP)
    wait_until(lambda: is_hit(stack), "both servers are reached")
    refresher = stack.start_refresher()
    check = stack.run("leewayctl", "-c", stack.config, "check")
    assert check.returncode == 0, check.stdout + check.stderr
    explain = stack.run("leewayctl", "-c", stack.config, "explain", "/items/7")
    assert explain.returncode == 0, explain.stdout + explain.stderr
    assert worker.stop() == refresher.stop() == 0
    said = stack.logs() + check.stdout + check.stderr + explain.stdout + explain.stderr
    assert SECRET not in said
    for process in worker, refresher:
        assert not any(SECRET in argument for argument in process.argv)


def test_passwords_in_two_places_are_refused(guarded):
    stack = guarded
    write_passwords(stack)
    stack.postgres_conninfo += f" password={SECRET}"
    configure_guarded(stack)
    test = stack.run("leeway-worker", "-t", "-c", stack.config)
    assert (test.returncode, test.stdout) == (1, "")
    assert "password_file is given; remove one" in test.stderr
    assert SECRET not in test.stderr


def test_a_password_file_that_everybody_can_read_is_warned_of(guarded):
    stack = guarded
    write_passwords(stack, mode=0o644)
    configure_guarded(stack, workers=1)
    test = stack.run("leeway-worker", "-t", "-c", stack.config)
    assert (test.returncode, test.stdout) == (0, f"{stack.config}: configuration ok\n")
    assert test.stderr.count(".pw can be read by everybody\n") == 2
    assert test.stderr.startswith(f"{stack.config}:")
    assert ": warning: password_file: " in test.stderr
    check = stack.run("leewayctl", "-c", stack.config, "check")
    assert (check.returncode, check.stdout.count("can be read by everybody")) == (0, 2)
    worker = stack.start_worker()
    assert worker.log_text().count("doubtful configuration") == 2
    worker.send(signal.SIGHUP)
    wait_until(lambda: worker.log_text().count("doubtful configuration") == 4, "it is said again")


def test_a_command_that_redis_does_not_know_is_not_quoted(stack, redis_with):
    """Redis quotes the arguments of such commands, the password of AUTH included."""
    redis_with("--rename-command", "HELLO", "", "--rename-command", "AUTH", "")
    stack.configure(ROUTES, redis=f'password = "{SECRET}"', workers=1)
    stack.start_worker()
    wait_until(lambda: "redis is away" in stack.logs(), "the failure is logged")
    assert "unknown command 'AUTH'" in stack.logs()
    check = stack.run("leewayctl", "-c", stack.config, "check")
    assert check.returncode == 3
    assert SECRET not in stack.logs() + check.stdout + check.stderr


def test_a_key_that_redis_quotes_is_not_logged(stack, redis_with):
    redis_with("--rename-command", "PUBLISH", "", "--rename-command", "SET", "",
               "--rename-command", "EVAL", "")
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    stack.ask(f"/items/{SECRET}")
    wait_until(lambda: "redis refused a command" in stack.logs(), "the refusal is logged")
    assert SECRET not in stack.logs()


# Postgres quotes the value in each, under a SQLSTATE that says nothing of it.
QUOTED = {
    "a text search": ("select to_tsquery($1)::text", "42601"),
    "a name of a table": ("select $1::regclass::text", "42602"),
    "SQL made of it": ("select run($1)", "42601"),
    "raised by a function": ("select complain($1, 'PT499')", "PT499"),
    "raised with a state of the server's own": ("select complain($1, '25006')", "25006"),
}
FUNCTIONS = """
create function run(value text) returns text language plpgsql as
  $$ begin execute 'select ' || value; return ''; end $$;
create function complain(value text, state text) returns text language plpgsql as
  $$ begin raise exception 'no %', value using errcode = state, hint = value, detail = value;
     end $$;
"""


@pytest.mark.parametrize("prepared", ("true", "false"))
def test_messages_that_quote_a_value_are_not_logged(stack, prepared):
    stack.sql(FUNCTIONS)
    stack.configure("".join(
        f'route "/{i}/{{value}}" {{ param "value" {{ type = text }} sql = "{sql}" }}\n'
        for i, (sql, _) in enumerate(QUOTED.values())),
        postgres=f"prepared = {prepared}", workers=1)
    worker = stack.start_worker()
    for i, (_, sqlstate) in enumerate(QUOTED.values()):
        assert stack.ask(f"/{i}/my%20{SECRET}%20x")[0] == 500
        assert re.search(rf"route=/{i}/{{value}} .*sqlstate={sqlstate}\b", worker.log_text())
    assert SECRET not in worker.log_text()


def test_lines_of_failing_queries_are_limited(stack):
    requests = 200
    stack.sql(FUNCTIONS)
    stack.configure("""
context "c" { budget = 0s }
route "/{value}" { context = "c" param "value" { type = text } sql = "select run($1)" }
""", workers=1)
    worker = stack.start_worker()
    for i in range(requests):
        assert stack.ask(f"/nonsense{i}")[0] == 500
    assert worker.stop() == 0
    lines = [line for line in LINE.findall(worker.log_text()) if "query failed" in line]
    written = sum(line.startswith('msg="query failed') for line in lines)
    suppressed = sum(int(count) for line in lines for count in COUNT.findall(line))
    assert 10 <= written < requests / 2
    assert written + suppressed == requests


def test_lines_that_clients_cause_are_limited_and_counted(stack, redis_with):
    requests = 200
    redis_with("--rename-command", "GET", "")
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    for i in range(requests):
        stack.ask(f"/items/{i}")
    assert worker.stop() == 0
    lines = [line for line in LINE.findall(worker.log_text()) if "redis refused a command" in line]
    written = sum(line.startswith('msg="redis refused') for line in lines)
    suppressed = sum(int(count) for line in lines for count in COUNT.findall(line))
    assert 10 <= written < requests / 2, worker.log_text()
    assert written + suppressed >= requests, worker.log_text()


def test_a_tls_key_that_everybody_can_read_is_warned_of(stack):
    made = Certificates(stack.path("tls"))
    certificate, key = made.make("client")
    stack.redis_address = "tls:localhost:6379"
    stack.redis_settings = \
        f'tls_ca = "{made.ca}"  tls_cert = "{certificate}"\n  tls_key = "{key}"'
    stack.configure(ROUTES)
    for mode, lines in (0o600, []), (0o644, [f"tls_key: {key} can be read by everybody"]):
        os.chmod(key, mode)
        test = stack.run("leeway-worker", "-t", "-c", stack.config)
        assert test.returncode == 0
        assert [line.partition(": warning: ")[2] for line in test.stderr.splitlines()] == lines
