# SPDX-License-Identifier: BSD-2-Clause
"""A key says which database its answer came from, and nothing is served of another: two databases
of one name never share entries, and a host serves nothing before it has verified its own."""
import json
import os
import re
import shutil
import signal
import socket
import tempfile

import pytest

from harness import fastcgi
from harness.address import Address
from harness.pgbouncer import start_pgbouncer
from harness.postgres import GATE, Postgres
from harness.wait import wait_until

OK, BAD, USAGE, UNREACHABLE = 0, 1, 2, 3
ROUTES = """
context "c" { budget = 60s }
context "lenient" { budget = 60s  stale_if_error = 1h }
context "never" { budget = 0s }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select id, name from items where id = $1 -- marker:item"
  shape = object
}
route "/lenient" { context = "lenient"  sql = "select name from items where id = 1"  shape = value }
route "/never" { context = "never"  sql = "select name from items where id = 1"  shape = value }
"""


@pytest.fixture(name="other", scope="module")
def make_other():
    """Another cluster."""
    folder = tempfile.mkdtemp(prefix="lw-pg-", dir="/tmp")
    os.chmod(folder, 0o755)
    server = Postgres(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def fill(server, database, name, schema="public"):
    server.execute(database, f"create schema if not exists {schema}")
    server.execute(database, f"create table {schema}.items (id int primary key, name text)")
    server.execute(database,
                   f"insert into {schema}.items select i, '{name}' from generate_series(1, 20) i")


@pytest.fixture(name="site")
def make_site(stack, other):
    """`stack`'s address leads to its own Postgres, whose rows are called "own"; another cluster has
    a database of the same name, whose rows are called "other"'s."""
    stack.address = Address(stack.path("pg"))
    stack.address.point(stack.postgres)
    stack.other = other
    stack.postgres_conninfo = conninfo(stack, stack.address.folder)
    fill(stack.postgres, stack.database, "own")
    other.create_database(stack.database)
    fill(other, stack.database, "other")
    yield stack
    # sessions first: a database in use is not dropped
    stack.stop()
    other.drop_database(stack.database)


def conninfo(stack, host, more=""):
    return f"host={host} user=leeway dbname={stack.database} {more}"


def beside(stack, name, more="", environment=None):
    """Another installation with the same routes over the same Redis, its database elsewhere."""
    host = stack.beside(name)
    host.environment = {**os.environ, **(environment or {})}
    host.postgres_conninfo = more
    host.configure(ROUTES)
    host.start_worker("-n", "1")
    return host


def name_at(host, path="/items/1"):
    status, headers, body = host.ask(path)
    assert status == 200, (status, body)
    found = json.loads(body)
    return found["name"] if isinstance(found, dict) else found, headers["cache-status"]


def status_at(host, path="/items/1"):
    return host.ask(path)[0]


def await_name(host, name, path="/items/1"):
    """Until then nothing is."""
    def is_served():
        status, _, body = host.ask(path)
        return status == 200 and name in body.decode()
    wait_until(is_served, f"{name} is served")


def await_all(host, name, *paths):
    """Each worker notices by itself: until all have, some refuse. None serves anything else."""
    def is_served_by_all():
        answers = [host.ask(path) for path in paths for _ in range(12)]
        assert all(status == 503 or name in body.decode() for status, _, body in answers), answers
        return all(status == 200 for status, _, _ in answers)
    wait_until(is_served_by_all, f"{name} is served by all")


def await_refusal(host, path="/items/1"):
    wait_until(lambda: {status_at(host, path) for _ in range(12)} == {503}, "nobody serves anything")


def ready(host, **options):
    status, _, body = host.ask("/ready", **options)
    return status, json.loads(body)


def end_sessions(server, database):
    server.execute("postgres", "select pg_terminate_backend(pid) from pg_stat_activity "
                   "where datname = %s and pid <> pg_backend_pid()", database)


def switch(site, server):
    """Another cluster behind the address, as after the first was stopped."""
    site.address.point(server)
    for cluster in (site.postgres, site.other):
        end_sessions(cluster, site.database)


# --- two databases, one Redis

def variants(site):
    """Connection string and environment that lead elsewhere."""
    path, folder = site.path("pg_service.conf"), site.other.folder
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"[far]\nhost={folder}\nuser=leeway\ndbname={site.database}\n")
    service = {"PGSERVICEFILE": path}
    plain = conninfo(site, site.address.folder)
    unnamed = f"user=leeway dbname={site.database}"
    site.address.point(site.other, 5433)
    fill(site.postgres, site.database, "other", "far")
    return {
        "host": (conninfo(site, folder), {}),
        "port": (plain + "port=5433", {}),
        "URI": (f"postgresql://leeway@/{site.database}?host={folder}", {}),
        "service=": ("service=far", service),
        "PGSERVICE": ("", {**service, "PGSERVICE": "far"}),
        "PGHOST": (unnamed, {"PGHOST": folder}),
        "PGPORT": (plain, {"PGPORT": "5433"}),
        "options": (plain + "options='-csearch_path=far'", {}),
        "PGOPTIONS": (plain, {"PGOPTIONS": "-c search_path=far"}),
    }


def test_another_destination_is_another_database(site):
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    for _ in range(2):
        assert [name_at(site, path)[0] for path in ("/items/1", "/lenient", "/never")] == ["own"] * 3
    for number, (what, (more, environment)) in enumerate(variants(site).items()):
        host = beside(site, f"host{number}", more, environment)
        for expected in ("fwd=uri-miss", "hit"):
            name, cache = name_at(host)
            assert (name, expected in cache) == ("other", True), (what, cache)
        assert name_at(host, "/lenient")[0] == name_at(host, "/never")[0] == "other"
        # several of them lead to one and the same place, which they may share
        for entry in site.entries.all():
            if "other" in entry.body:
                site.redis.client().delete(entry.key)
    name, cache = name_at(site)
    assert name == "own" and "hit" in cache


def test_another_user_is_another_database(site):
    stranger = "s_" + site.database
    site.sql(f"create role {stranger} login")
    site.sql(f"grant select on items to {stranger}")
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    assert name_at(site)[0] == "own"
    host = beside(site, "host", f"host={site.address.folder} user={stranger} dbname={site.database}")
    assert "fwd=uri-miss" in name_at(host)[1]
    site.stop()
    site.sql(f"drop owned by {stranger}")
    site.sql(f"drop role {stranger}")


def machine(site, name):
    """A host with a machine-id of its own."""
    host = site.beside(name)
    host.postgres_conninfo = site.postgres_conninfo
    with open(host.path("machine-id"), "w", encoding="utf-8") as out:
        out.write(f"{name.encode().hex():0>32}\n")
    host.shim(host.path("machine-id"))
    host.configure(ROUTES)
    return host


def test_two_machines_with_the_same_socket(site):
    one, two = machine(site, "one"), machine(site, "two")
    one.start_worker("-n", "1")
    assert name_at(one)[0] == "own"
    site.address.point(site.other)  # on machine two the same path leads elsewhere
    two.start_worker("-n", "1")
    for _ in range(3):
        assert (name_at(one)[0], name_at(two)[0]) == ("own", "other")
    assert len(site.entries.keys()) == 2


def test_a_machine_without_machine_id_has_its_boot_id(site):
    host = machine(site, "one")
    os.unlink(host.path("machine-id"))
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    run = host.run("leewayctl", "-c", host.config, "--json", "identity",
                   environment=host.environment)
    assert json.loads(run.stdout)["hosts"] == f"{site.address.folder}:5432@{boot_id}", run.stderr


def test_a_namespace_joins_two_addresses_of_one_database(site):
    hosts = [site, site.beside("host")]
    hosts[1].postgres_conninfo = conninfo(site, site.postgres.folder)
    for host, namespace in ((hosts[0], "shop"), (hosts[1], "shop")):
        host.configure(ROUTES, redis=f'namespace = "{namespace}"')
        host.start_worker("-n", "1")
    assert name_at(hosts[0]) == ("own", "leeway; fwd=uri-miss; fwd-status=200; stored")
    assert "hit" in name_at(hosts[1])[1]
    third = site.beside("third")
    third.postgres_conninfo = site.postgres_conninfo
    third.configure(ROUTES, redis='namespace = "other"')
    third.start_worker("-n", "1")
    assert "fwd=uri-miss" in name_at(third)[1]


def test_several_hosts_are_one_identity(site):
    """The first of them is not there."""
    site.postgres_conninfo = conninfo(site, f"{site.path('nowhere')},{site.address.folder}")
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    host = beside(site, "host", conninfo(site, f"{site.address.folder},{site.path('nowhere')}"))
    assert name_at(site)[0] == "own"
    assert "hit" in name_at(host)[1]


# --- verified before anything is served

def test_first_start_while_postgres_is_away(site):
    site.address.clear()
    site.configure(ROUTES)
    worker = site.start_worker()
    children = worker.children()
    for path in ("/items/1", "/lenient", "/never"):
        status, headers, _ = site.ask(path)
        assert status == 503 and headers["retry-after"] in ("1", "2"), path
    assert ready(site) == (503, {"status": "unready", "reasons": ["identity"], "details": [
        "no session of this host has said which database it is"]})
    assert ready(site, REMOTE_ADDR="10.0.0.1") == (503, {"status": "unready",
                                                         "reasons": ["identity"]})
    assert site.ask("/health")[0] == site.ask("/metrics")[0] == 200
    site.address.point(site.postgres)
    await_name(site, "own")
    wait_until(lambda: ready(site) == (200, {"status": "ready"}), "it is ready")
    assert worker.children() == children


def test_stored_before_is_not_served_by_a_host_that_has_not_verified(site):
    site.configure(ROUTES)
    worker = site.start_worker(name="first")
    assert name_at(site)[0] == "own"
    worker.stop()
    shutil.rmtree(site.path("run"))
    site.address.clear()
    site.start_worker()
    assert status_at(site) == status_at(site, "/lenient") == 503
    assert len(site.entries.keys()) == 1


def test_restart_while_postgres_is_away(site):
    site.configure(ROUTES)
    worker = site.start_worker(name="first")
    assert name_at(site)[0] == "own"
    worker.stop()
    site.address.clear()
    site.start_worker()
    assert "hit" in name_at(site)[1]
    assert status_at(site, "/items/2") == 503
    assert ready(site)[0] == 200
    site.address.point(site.postgres)
    await_name(site, "own", "/items/2")


def test_restart_while_postgres_is_away_after_an_accept_elsewhere(site):
    """What was verified is not what is noted any more."""
    site.configure(ROUTES)
    worker = site.start_worker(name="first")
    assert name_at(site)[0] == "own"
    worker.stop()
    site.address.point(site.other)
    assert ctl(site, "identity", "--accept").returncode == OK
    site.address.clear()
    worker = site.start_worker()
    assert status_at(site) == 503
    assert "another database is refused" in worker.log_text()
    site.address.point(site.other)
    await_name(site, "other")


def test_redis_away_at_the_first_start(site):
    site.redis.stop()
    site.configure(ROUTES)
    worker = site.start_worker()
    for path in ("/items/1", "/lenient", "/never"):
        assert status_at(site, path) == 503
    assert ready(site)[1]["reasons"] == ["identity"]
    children = worker.children()
    site.redis.start()
    await_name(site, "own")
    assert worker.children() == children


def test_an_unverified_refresher_takes_no_jobs(site):
    site.address.clear()
    site.configure(ROUTES)
    client = site.redis.client()
    jobs = site.jobs()
    client.lpush(jobs, '[1,1795435200123,"items.id","0123456789abcdef",["1"]]')
    refresher = site.start_refresher()
    wait_until(lambda: client.keys("{leeway:jobs}:*:alive:*"), "a heartbeat")
    wait_until(lambda: "not verified" in refresher.log_text(), "it says why")
    with site.redis.monitor() as seen:
        client.delete(client.keys("{leeway:jobs}:*:alive:*")[0])
        wait_until(lambda: client.keys("{leeway:jobs}:*:alive:*"), "another heartbeat")
    assert not seen.commands("BLMOVE") and client.llen(jobs) == 1
    site.address.point(site.postgres)
    wait_until(lambda: client.llen(jobs) == 0, "the job is taken")


def test_a_request_in_the_backlog_waits_for_verification(site):
    """While a server takes connections and says nothing."""
    site.configure(ROUTES, postgres="connect_timeout = 30s", settings="drain_timeout = 1m")
    site.postgres.hang()
    try:
        worker = site.start_process("worker", site.worker_command("-n", "1"))
        wait_until(lambda: os.path.exists(site.socket), "it listens")
        later = site.ask_later("/items/1")
        wait_until(worker.children, "a child")
    finally:
        site.postgres.go_on()
    assert later.result()[0] == 200


def test_a_stop_while_a_worker_waits_for_verification(site):
    site.configure(ROUTES, postgres="connect_timeout = 1m", settings="drain_timeout = 1m")
    site.postgres.hang()
    try:
        worker = site.start_process("worker", site.worker_command("-n", "1"))
        wait_until(worker.children, "a child")
        later = site.ask_later("/items/1")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
    finally:
        site.postgres.go_on()
    try:
        assert later.result()[0] == 503
    except (OSError, fastcgi.Closed):
        pass  # it came after the stop had begun


def test_a_stop_while_a_refresher_takes_a_new_session(site):
    """For a job of another generation, from a server that says nothing."""
    site.configure(ROUTES, postgres="connect_timeout = 1m", settings="drain_timeout = 6s")
    refresher = site.start_refresher()
    client = site.redis.client()
    wait_until(lambda: client.keys("leeway:identity:*"), "it has verified")
    site.postgres.hang()
    try:
        jobs = site.jobs()
        client.lpush(jobs, '[1,1795435200123,"items.id","0123456789abcdef",["1"]]')
        wait_until(lambda: client.llen(jobs) == 0, "it is taken")
        refresher.send(signal.SIGTERM)
        assert refresher.wait() == 0
    finally:
        site.postgres.go_on()
    assert "is killed" not in refresher.log_text()
    assert client.llen(jobs) == 1, "another refresher will look into it"


def test_a_note_that_cannot_be_read_is_none(site):
    site.configure(ROUTES)
    site.start_worker(name="first").stop()
    shutil.rmtree(site.path("run"))
    client = site.redis.client()
    key = client.keys("leeway:identity:*")[0]
    for spoil in (lambda: client.set(key, "x"), lambda: client.hset(key, "accepts", "many"),
                  lambda: client.hset(key, "database", "-1"),
                  lambda: client.hset(key, "database", "")):
        kept = client.hgetall(key)
        spoil()
        worker = site.start_worker("-n", "1", name="spoilt")
        assert status_at(site) == 503 and ready(site)[1]["reasons"] == ["identity"]
        client.delete(key)
        client.hset(key, mapping=kept)
        await_name(site, "own")
        worker.stop()
        shutil.rmtree(site.path("run"))


def test_restart_while_redis_is_away_with_another_cluster_at_the_address(site):
    site.configure(ROUTES)
    site.start_worker(name="first").stop()
    site.redis.stop()
    switch(site, site.other)
    site.start_worker()
    assert {status_at(site, path) for path in ("/items/1", "/lenient", "/never")} == {503}
    site.redis.start()  # it is empty: what this host knows is noted, and the other is refused
    wait_until(lambda: "noted is cluster" in ready(site)[1]["details"][0], "it is compared")
    assert status_at(site) == 503
    switch(site, site.postgres)
    await_name(site, "own")


def test_a_service_that_is_not_there_is_a_fault_of_the_configuration(site):
    site.postgres_conninfo = "service=none"
    site.configure(ROUTES)
    for name in ("leeway-worker", "leeway-refresher"):
        run = site.run(name, "-c", site.config, "-t")
        assert run.returncode == 1 and 'definition of service "none" not found' in run.stderr


def test_a_reload_waits_for_verification_before_it_replaces_workers(site):
    """While the new configuration's server is away those of before serve hits."""
    new = Address(site.path("new"))
    site.configure(ROUTES)
    worker = site.start_worker()
    assert name_at(site)[0] == "own"
    before = worker.children()
    with AwayServer(new.socket(5432)) as away:
        site.postgres_conninfo = conninfo(site, new.folder)
        site.configure(ROUTES)
        worker.send(signal.SIGHUP)
        away.turn_down(3)
        for _ in range(20):
            assert "hit" in name_at(site)[1]
        assert set(before) <= set(worker.children())
    new.point(site.postgres)
    while set(before) & set(worker.children()):
        assert name_at(site)[0] == "own"
    assert "are replaced by ones that do not" not in worker.log_text()


def test_a_reload_to_a_server_that_stays_away_ends_and_says_what_it_has_done(site):
    site.configure(ROUTES, postgres="connect_timeout = 1s")
    worker = site.start_worker()
    assert name_at(site)[0] == "own"
    before = worker.children()
    site.postgres_conninfo = conninfo(site, "/nowhere")
    site.configure(ROUTES, postgres="connect_timeout = 1s")
    worker.send(signal.SIGHUP)
    site.await_replaced(worker, before)
    assert status_at(site) == 503
    said = [line for line in worker.log_text().splitlines() if "are replaced by ones" in line]
    assert len(said) == 1 and said[0].startswith("error "), worker.log_text()


def test_an_outage_is_logged_once(site):
    site.address.clear()
    with AwayServer(site.address.socket(5432)) as away:
        site.configure(ROUTES)
        worker = site.start_process("worker", site.worker_command("-n", "1"))
        away.turn_down(4)
        said = [line for line in worker.log_text().splitlines() if "cannot connect" in line]
        assert len(said) == 1, said


class AwayServer:
    """Takes connections at a socket and closes them."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.socket.listen()
        self.socket.settimeout(20)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()
        os.unlink(self.path)

    def turn_down(self, count):
        for _ in range(count):
            self.socket.accept()[0].close()


# --- another database behind the address

def test_another_cluster_is_refused(site):
    site.configure(ROUTES)
    worker = site.start_worker()
    site.start_refresher()
    for path in ("/items/1", "/lenient"):
        assert name_at(site, path)[0] == "own"
    switch(site, site.other)
    for path in ("/items/1", "/lenient", "/never", "/items/2"):
        await_refusal(site, path)
    assert site.ask("/health")[0] == site.ask("/metrics")[0] == 200
    def errors():
        return [line for line in worker.log_text().splitlines() if line.startswith("error ")]
    wait_until(lambda: len(errors()) >= 2, "an error line of each worker")
    said = errors()
    assert len(said) == 2 and all("another database is refused" in line for line in said), said
    identifiers = [server.execute("postgres", "select system_identifier from pg_control_system()")
                   [0][0] for server in (site.postgres, site.other)]
    assert all(str(identifier) in said[0] for identifier in identifiers)
    wait_until(lambda: ready(site)[1].get("reasons") == ["identity"], "/ready says so")
    assert str(identifiers[1]) in ready(site)[1]["details"][0]
    run = ctl(site, "check")
    assert run.returncode == BAD and re.search(r"^problem +identity .*nothing is served", run.stdout,
                                               re.M), run.stdout
    worker.stop()
    site.start_worker(name="again")
    await_refusal(site)
    assert [entry.body for entry in site.entries.all("items.id")] == ['{"id":1,"name":"own"}']
    switch(site, site.postgres)
    await_name(site, "own")


def test_another_cluster_is_served_once_accepted(site):
    site.configure(ROUTES)
    site.start_worker()
    assert name_at(site)[0] == name_at(site, "/lenient")[0] == "own"
    switch(site, site.other)
    await_refusal(site)
    before = ctl_json(site, "identity", status=BAD)
    assert (before["agrees"], before["noted"]["accepts"]) == (False, 0)
    assert before["noted"]["system_identifier"] != before["server"]["system_identifier"]
    after = ctl_json(site, "identity", "--accept")
    assert (after["agrees"], after["noted"]["accepts"]) == (True, 1)
    await_all(site, "other", "/items/1", "/lenient", "/never")
    switch(site, site.postgres)
    await_refusal(site)


def test_accepting_what_is_noted_voids_what_is_stored(site):
    """After a restore the cluster is the same and its rows are not."""
    site.configure(ROUTES)
    site.start_worker()
    assert name_at(site)[0] == "own"
    site.sql("update items set name = 'restored'")
    assert ctl(site, "identity", "--accept").returncode == OK
    await_name(site, "restored")
    wait_until(lambda: {name_at(site)[0] for _ in range(12)} == {"restored"}, "by all workers")
    # also when the note is lost, the old rows stay void
    for key in site.redis.client().keys("leeway:identity:*"):
        site.redis.client().delete(key)
    wait_until(lambda: site.redis.client().keys("leeway:identity:*"), "it is noted again")
    key = site.redis.client().keys("leeway:identity:*")[0]
    assert site.redis.client().hget(key, "accepts") == "1"
    assert {name_at(site)[0] for _ in range(10)} == {"restored"}


def test_a_database_made_anew_is_refused(site):
    site.configure(ROUTES)
    site.start_worker()
    assert name_at(site)[0] == "own"
    site.postgres.drop_database(site.database)
    site.postgres.create_database(site.database)
    fill(site.postgres, site.database, "anew")
    await_refusal(site)
    assert ctl(site, "identity").returncode == BAD
    assert ctl(site, "identity", "--accept").returncode == OK
    await_name(site, "anew")


def test_a_refused_fleet_member_spoils_nothing_for_others(site):
    """With one namespace, and one host that reaches another database."""
    good, bad = site, site.beside("bad")
    bad.postgres_conninfo = conninfo(site, site.other.folder)
    for host in (good, bad):
        host.configure(ROUTES, redis='namespace = "shop"')
    good.start_worker()
    assert name_at(good)[0] == "own"
    bad.start_worker()
    for path in ("/items/1", "/items/2", "/lenient", "/never"):
        assert status_at(bad, path) == 503
    assert name_at(good, "/items/2")[0] == "own"
    assert {entry.body for entry in site.entries.all("items.id")} == {
        '{"id":1,"name":"own"}', '{"id":2,"name":"own"}'}


def test_each_process_says_what_it_refuses(site):
    """Behind one address there may be several servers, and each process comes to its own."""
    site.configure(ROUTES, workers=3)
    worker = site.start_worker()
    for _ in range(12):
        assert name_at(site)[0] == "own"
    switch(site, site.other)
    wait_until(lambda: worker.log_text().count("another database is refused") == 3, "all have")


def test_a_note_without_a_cluster_is_completed_by_who_may_read_it(site):
    role = "q_" + site.database
    site.sql("revoke execute on function pg_control_system() from public")
    site.sql(f"create role {role} login")
    site.sql(f"grant select on items to {role}")
    site.postgres_conninfo = f"host={site.address.folder} dbname={site.database}"
    site.environment = {**os.environ, "PGUSER": role}
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    assert name_at(site)[0] == "own"
    # the operator may read more than the daemons
    run = ctl(site, "check", environment={**os.environ, "PGUSER": "leeway"})
    assert re.search(r"^warning +identity +noted is no cluster", run.stdout, re.M), run.stdout
    site.sql(f"grant execute on function pg_control_system() to {role}")
    site.processes[-1].stop()
    site.start_worker("-n", "1", name="again")
    assert name_at(site)[0] == "own"
    found = json.loads(ctl(site, "--json", "identity", environment=site.environment).stdout)
    assert found["noted"]["system_identifier"] == found["server"]["system_identifier"] is not None
    site.stop()
    site.sql(f"drop owned by {role}")
    site.sql(f"drop role {role}")


def test_a_note_that_lost_its_cluster_gets_it_back(site):
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    assert name_at(site)[0] == "own"
    client = site.redis.client()
    key = client.keys("leeway:identity:*")[0]
    noted = client.hget(key, "system")
    client.hset(key, "system", "")
    wait_until(lambda: client.hget(key, "system") == noted, "it is completed")


def test_what_a_host_knows_of_the_cluster_counts_where_the_note_lacks_it(site):
    """Also of a Redis that takes no writes."""
    site.configure(ROUTES)
    site.start_worker("-n", "1", name="first").stop()
    client = site.redis.client()
    key = client.keys("leeway:identity:*")[0]
    oid = site.other.execute("postgres", "select oid from pg_database where datname = %s",
                             site.database)[0][0]
    # the other cluster's database has the same OID as far as anybody can tell
    kept = kept_file(site)
    with open(kept, encoding="utf-8") as text:
        changed = re.sub(r"^oid \d+$", f"oid {oid}", text.read(), flags=re.M)
    with open(kept, "w", encoding="utf-8") as out:
        out.write(changed)
    client.hset(key, mapping={"system": "", "database": str(oid)})
    site.address.point(site.other)
    client.config_set("min-replicas-to-write", "1")
    try:
        site.start_worker("-n", "1", name="second")
        await_refusal(site)
    finally:
        client.config_set("min-replicas-to-write", "0")


def test_nothing_weaker_is_accepted_than_is_noted(site):
    site.sql("revoke execute on function pg_control_system() from public")
    site.sql("create role weak login")
    site.postgres_conninfo = f"host={site.address.folder} dbname={site.database}"
    site.environment = {**os.environ, "PGUSER": "leeway"}
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    assert name_at(site)[0] == "own"
    client = site.redis.client()
    before = client.hgetall(client.keys("leeway:identity:*")[0])
    run = ctl(site, "identity", "--accept", environment={**os.environ, "PGUSER": "weak"})
    assert run.returncode == BAD and "user 'weak' may not execute" in run.stderr, run.stderr
    assert client.hgetall(client.keys("leeway:identity:*")[0]) == before
    site.sql("drop role weak")


def test_a_refusal_by_the_note_ends_when_the_note_agrees_again(site):
    site.configure(ROUTES)
    site.start_worker(name="first")
    assert name_at(site)[0] == "own"
    site.address.clear()
    end_sessions(site.postgres, site.database)
    client = site.redis.client()
    key = client.keys("leeway:identity:*")[0]
    noted = client.hget(key, "system")
    client.hset(key, "system", "1")
    await_refusal(site)
    client.hset(key, "system", noted)
    await_all(site, "own", "/items/1")


# --- the generation

@pytest.fixture(name="role")
def make_role(site):
    """Its own role, with a search_path of its own: rows of schema a are "a"."""
    role = "r_" + site.database
    for schema in "ab":
        fill(site.postgres, site.database, schema, schema)
    site.sql(f"create role {role} login")
    for schema in "ab":
        site.sql(f"grant usage on schema {schema} to {role}")
        site.sql(f"grant select on all tables in schema {schema} to {role}")
    site.sql(f"alter role {role} set search_path = a")
    site.postgres_conninfo = f"host={site.address.folder} user={role} dbname={site.database}"
    yield role
    site.stop()
    site.sql(f"drop owned by {role}")
    site.sql(f"drop role {role}")


def names_by_fingerprint(site):
    found = {}
    for entry in site.entries.all("items.id"):
        fingerprint = entry.key.split(".")[-1].split(":")[0]
        found.setdefault(fingerprint, set()).add(json.loads(entry.body)["name"])
    return found


def test_a_roles_search_path_altered_under_a_fleet_of_two(site, role):
    hosts = [site, site.beside("host")]
    hosts[1].postgres_conninfo = site.postgres_conninfo
    workers = []
    for host in hosts:
        host.configure(ROUTES)
        workers.append(host.start_worker())
        host.start_refresher()
    for number in range(1, 6):
        assert {name_at(host, f"/items/{number}")[0] for host in hosts} == {"a"}
    site.sql(f"alter role {role} set search_path = b")
    end_sessions(site.postgres, site.database)
    # a miss makes a session anew where there is none
    for host in hosts:
        wait_until(lambda host=host: {name_at(host, f"/items/{number}")[0] for number in
                                      range(1, 21)} == {"b"}, "all that is served is of the new one")
    for _ in range(3):
        assert {name_at(host, f"/items/{number}")[0] for host in hosts
                for number in range(1, 21)} == {"b"}
    assert sorted(map(tuple, names_by_fingerprint(site).values())) == [("a",), ("b",)]
    for worker in workers:
        said = [line.split()[1] for line in worker.log_text().splitlines()
                if "another user or search_path" in line]
        assert said and len(said) == len(set(said)), said  # once by each process


def test_a_session_of_before_keeps_to_its_own_keys(site, role):
    """Two hosts, of which one has a session from before the change."""
    new = site.beside("host")
    new.postgres_conninfo = site.postgres_conninfo
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    assert name_at(site)[0] == "a"
    site.sql(f"alter role {role} set search_path = b")
    new.configure(ROUTES)
    new.start_worker("-n", "1")
    for number in range(1, 21):
        assert name_at(new, f"/items/{number}")[0] == "b"
    assert {name_at(site, f"/items/{number}")[0] for number in range(1, 21)} == {"a"}
    assert sorted(map(tuple, names_by_fingerprint(site).values())) == [("a",), ("b",)]


def test_a_refresher_whose_session_is_from_before_takes_a_new_one(site, role):
    """Else it would drop the jobs of workers whose sessions are newer, for as long as it runs."""
    site.configure(ROUTES)
    refresher = site.start_refresher()
    wait_until(lambda: os.path.exists(site.path("run")) and
               any(name.startswith("identity.") for name in os.listdir(site.path("run"))),
               "the refresher has verified")
    site.sql(f"alter role {role} set search_path = b")
    site.start_worker("-n", "1")
    assert name_at(site)[0] == "b"
    site.entries.age(55)
    before = site.entries.only("items.id").snapshot_us
    assert name_at(site)[0] == "b"  # asks for a refresh
    wait_until(lambda: site.entries.only("items.id").snapshot_us > before + 50000000,
               "it is refreshed")
    assert "another user or search_path" in refresher.log_text()
    assert names_by_fingerprint(site) == {site.entries.only("items.id").key.split(".")[-1]
                                          .split(":")[0]: {"b"}}


def test_two_generations_behind_a_pooler(site, role):
    """Its server connections are older and newer than the change, and every transaction may come to
    any of them."""
    start_pgbouncer(site, "transaction", size=2, user=role, more="server_round_robin = 1")
    site.configure(ROUTES + """
    route "/slow/{id}" {
      context = "never"
      param "id" { type = int }
      sql = "select name from items, pg_sleep(0.3) where id = $1"
      shape = value
    }""")
    worker = site.start_worker("-n", "1")
    assert name_at(site)[0] == "a"
    site.sql(f"alter role {role} set search_path = b")
    for answer in [site.ask_later(f"/slow/{number}") for number in range(1, 4)]:
        answer.result()  # the pooler connects once more
    found = [name_at(site, f"/items/{number}") for _ in range(5) for number in range(1, 21)]
    assert {name for name, _ in found} == {"a", "b"}, "both are there"
    assert sum("hit" in cache for _, cache in found) >= 20, found
    assert worker.log_text().count("another user or search_path") < 5, worker.log_text()


def test_another_search_path_by_reload(site):
    for schema in "ab":
        fill(site.postgres, site.database, schema, schema)
    plain = site.postgres_conninfo
    for schema in "ab":
        site.postgres_conninfo = f"{plain} options='-csearch_path={schema}'"
        site.configure(ROUTES)
        if schema == "a":
            worker = site.start_worker()
            assert name_at(site)[0] == "a"
    before = worker.children()
    worker.send(signal.SIGHUP)
    site.await_replaced(worker, before)
    for _ in range(20):
        assert name_at(site)[0] == "b"


# --- the tool

def ctl(site, *arguments, environment=None):
    run = site.run("leewayctl", "-c", site.config, *arguments, environment=environment)
    assert "Sanitizer" not in run.stderr and "runtime error" not in run.stderr, run.stderr
    return run


def ctl_json(site, *arguments, status=OK):
    run = ctl(site, "--json", *arguments)
    assert run.returncode == status, (run.returncode, run.stdout, run.stderr)
    return json.loads(run.stdout)


@pytest.fixture(name="unnamed")
def make_unnamed(site):
    """Daemons whose user comes from their environment."""
    site.postgres_conninfo = f"host={site.address.folder} dbname={site.database}"
    site.environment = {**os.environ, "PGUSER": "leeway"}
    site.configure(ROUTES)
    site.start_worker()
    assert name_at(site)[0] == "own"
    return site


def test_the_tool_finds_the_daemons_keys_as_another_user(unnamed):
    run = ctl(unnamed, "explain", "/items/1")
    assert run.returncode == OK, run.stderr
    assert unnamed.entries.keys()[0].replace(":entry", "") in run.stdout
    assert "the daemons' user is 'leeway'" in run.stderr
    run = ctl(unnamed, "purge", "/items/1")
    assert (run.returncode, run.stdout) == (OK, "1 purged\n"), run.stderr
    assert "the daemons' user is 'leeway'" in run.stderr
    assert unnamed.entries.keys() == []


def test_the_tool_says_that_it_does_not_know_the_daemons_user(unnamed):
    """In a runtime_dir of its own it finds nothing."""
    with open(unnamed.config, encoding="utf-8") as text:
        changed = text.read().replace(unnamed.path("run"), unnamed.path("none"))
    with open(unnamed.config, "w", encoding="utf-8") as out:
        out.write(changed)
    assert unnamed.path("none") in changed
    unnamed.postgres.execute("postgres", "create role nobody_else login")
    environment = {**os.environ, "PGUSER": "nobody_else"}
    for command, said in (("explain", "entry       none"), ("purge", "1 purged\n")):
        run = ctl(unnamed, command, "/items/1", environment=environment)
        assert run.returncode == BAD and said in run.stdout, (run.stdout, run.stderr)
        assert "keys are those of user 'nobody_else'" in run.stderr
    unnamed.postgres.execute("postgres", "drop role nobody_else")
    assert "fwd=uri-miss" in name_at(unnamed)[1]  # the URL's, whosever it was
    run = ctl(unnamed, "purge", "/items/1", environment={**os.environ, "PGHOST": "/nowhere",
                                                         "PGUSER": "not_there"})
    assert run.returncode in (BAD, UNREACHABLE) and len(unnamed.entries.keys()) == 1


def test_the_tool_does_not_choose_between_two_users(unnamed):
    unnamed.postgres.execute("postgres", "create role second login superuser")
    unnamed.environment = {**os.environ, "PGUSER": "second"}
    unnamed.start_refresher()
    wait_until(lambda: sum(name.startswith("identity.") for name in
                           os.listdir(unnamed.path("run"))) == 2, "both have verified")
    run = ctl(unnamed, "purge", "/items/1")
    assert (run.returncode, run.stdout) == (BAD, "")
    assert "user 'leeway'" in run.stderr and "user 'second'" in run.stderr
    run = ctl(unnamed, "purge", "/items/1", environment={**os.environ, "PGUSER": "leeway"})
    assert (run.returncode, run.stdout) == (OK, "1 purged\n")
    unnamed.stop()
    unnamed.postgres.execute("postgres", "drop role second")


def test_the_tool_finds_the_daemons_whatever_else_conninfo_says(unnamed):
    """A text that chooses no other database is no other configuration, and neither is one that says
    in another way where the same is."""
    plain = unnamed.postgres_conninfo
    environment = {**os.environ, "PGHOST": unnamed.address.folder}
    for number, (text, more) in enumerate((
            (plain + " connect_timeout=7 password=none", {}),
            (f"dbname={unnamed.database}", {"PGHOST": unnamed.address.folder}))):
        unnamed.stop()
        unnamed.postgres_conninfo = text
        unnamed.environment = {**os.environ, "PGUSER": "leeway", **more}
        unnamed.configure(ROUTES)
        unnamed.start_worker(name=f"again{number}")
        name_at(unnamed)
        run = ctl(unnamed, "purge", "/items/1", environment=environment)
        assert (run.returncode, run.stdout) == (OK, "1 purged\n"), (text, run.stderr)


def test_purge_after_an_accept_that_this_host_has_not_heard_of(site):
    host = site.beside("host")
    host.postgres_conninfo = site.postgres_conninfo
    for one in (site, host):
        one.configure(ROUTES)
    site.start_worker("-n", "1", name="first").stop()
    host.start_worker("-n", "1")
    assert ctl(host, "identity", "--accept").returncode == OK
    def has_heard():
        with open(kept_file(host), encoding="utf-8") as text:
            return "\naccepts 1\n" in text.read()
    wait_until(has_heard, "the other host has")
    generation = ctl_json(host, "identity")["generation"]
    assert ctl_json(site, "identity")["generation"] == generation
    def is_stored():
        name_at(host)
        return ctl(site, "explain", "/items/1").stdout.count("entry       fresh") == 1
    wait_until(is_stored, "it is stored under the key that this host names")
    run = ctl(site, "purge", "/items/1")
    assert run.returncode == OK and site.entries.keys() == [], run.stdout
    site.redis.stop()
    run = ctl(site, "purge", "/items/1")
    assert (run.returncode, run.stdout) == (UNREACHABLE, "")
    assert "Redis cannot be asked what is noted" in run.stderr
    site.redis.start()


def test_purge_reaches_all_generations(site, role):
    """A host whose session is from before a change serves its own."""
    new = site.beside("host")
    new.postgres_conninfo = site.postgres_conninfo
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    assert [name_at(site, path)[0] for path in ("/items/1", "/items/11", "/lenient")] == ["a"] * 3
    site.sql(f"alter role {role} set search_path = b")
    new.configure(ROUTES)
    new.start_worker("-n", "1")
    assert name_at(new)[0] == "b"
    for host in (site, new):
        run = ctl(host, "purge", "/items/1")
        assert (run.returncode, run.stdout) == (OK, "2 purged\n"), run.stderr
        assert sorted(key.rsplit(":", 2)[1] for key in site.entries.keys()) == ["=11}", "}"]
        assert "fwd=uri-miss" in name_at(site)[1] and "fwd=uri-miss" in name_at(new)[1]


def test_purge_reaches_the_queries_of_all_generations(site, role):
    """One that is under way in an older session is not stored either."""
    routes = ROUTES + f"""route "/gated" {{ context = "c"  shape = value
      sql = "select name from items, {GATE} where id = 1 -- marker:gated" }}"""
    new = site.beside("host")
    new.postgres_conninfo = site.postgres_conninfo
    site.configure(routes)
    site.start_worker("-n", "1")
    assert name_at(site)[0] == "a"
    site.sql(f"alter role {role} set search_path = b")
    new.configure(routes)
    new.start_worker("-n", "1")
    assert name_at(new)[0] == "b"
    with site.gate():
        before = site.ask_later("/gated")
        wait_until(lambda: site.executions("marker:gated") == 1, "the query is under way")
        run = ctl(new, "purge", "/gated")
        assert (run.returncode, run.stdout) == (OK, "1 purged\n"), run.stderr
    assert before.result()[0] == 200
    assert "fwd=uri-miss" in name_at(site, "/gated")[1]


def test_explain_where_nothing_is_kept_and_another_cluster_is_there(site):
    site.configure(ROUTES)
    site.start_worker("-n", "1").stop()
    site.start_worker("-n", "1", name="again")
    assert name_at(site)[0] == "own"
    site.stop()
    shutil.rmtree(site.path("run"))
    switch(site, site.other)
    run = ctl(site, "explain", "/items/1")
    assert "request     would get 503" in run.stdout, (run.stdout, run.stderr)
    assert "no daemon has verified" not in run.stderr  # conninfo names the user


def test_a_runtime_dir_that_cannot_be_read_is_not_an_empty_one(unnamed):
    hidden = unnamed.path("file")
    with open(hidden, "w", encoding="utf-8"):
        pass
    with open(unnamed.config, encoding="utf-8") as text:
        changed = text.read().replace(unnamed.path("run"), hidden)
    with open(unnamed.config, "w", encoding="utf-8") as out:
        out.write(changed)
    run = ctl(unnamed, "explain", "/items/1", environment={**os.environ, "PGUSER": "leeway"})
    assert run.returncode == BAD and f"cannot read directory {hidden}" in run.stderr, run.stderr
    assert "no daemon has verified" not in run.stderr


def test_identity_says_what_is_what(site):
    site.configure(ROUTES)
    before = ctl_json(site, "identity", status=BAD)
    assert (before["noted"], before["kept"]) == (None, False)
    assert before["verdict"].startswith("not noted yet")
    site.start_worker()
    found = ctl_json(site, "identity")
    assert (found["database"], found["user"], found["options"]) == (site.database, "leeway", "")
    assert found["kept"] and found["agrees"]
    assert found["hosts"].startswith(f"{site.address.folder}:5432@")
    key = f"leeway:identity:{found['identity']}"
    oid = site.sql("select oid from pg_database where datname = current_database()")[0][0]
    noted = site.redis.client().hgetall(key)
    assert (noted["database"], noted["accepts"]) == (str(oid), "0")
    assert noted["system"] == found["server"]["system_identifier"]
    text = ctl(site, "identity")
    assert text.returncode == OK and found["generation"] in text.stdout
    site.address.clear()
    assert ctl(site, "identity").returncode == UNREACHABLE
    assert ctl(site, "identity", "--accept").returncode == UNREACHABLE
    assert ctl(site, "identity", "now").returncode == USAGE


def test_nothing_is_accepted_where_the_tool_would_connect_elsewhere(site):
    site.postgres_conninfo = f"user=leeway dbname={site.database}"
    site.environment = {**os.environ, "PGHOST": site.address.folder}
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    assert name_at(site)[0] == "own"
    elsewhere = {**os.environ, "PGHOST": site.other.folder}
    run = ctl(site, "identity", "--accept", environment=elsewhere)
    assert run.returncode == UNREACHABLE and "connect elsewhere" in run.stderr, run.stderr
    assert "the daemons' hosts" in run.stderr
    run = ctl(site, "check", environment=elsewhere)
    assert re.search(r"^warning +identity .*elsewhere", run.stdout, re.M), run.stdout
    run = ctl(site, "purge", "/items/1", environment=elsewhere)
    assert (run.returncode, run.stdout) == (OK, "1 purged\n")  # it is the daemons' keys that count
    assert name_at(site)[0] == "own"


def test_a_role_that_may_not_ask_for_the_cluster(site):
    """Then the database's OID is all that can be compared."""
    role = "q_" + site.database
    site.sql("revoke execute on function pg_control_system() from public")
    site.sql(f"create role {role} login")
    site.sql(f"grant select on items to {role}")
    site.postgres_conninfo = f"host={site.address.folder} user={role} dbname={site.database}"
    site.configure(ROUTES)
    site.start_worker("-n", "1")
    assert name_at(site)[0] == "own"
    run = ctl(site, "check")
    assert re.search(r"^warning +identity .*pg_control_system", run.stdout, re.M), run.stdout
    assert ctl_json(site, "identity")["noted"]["system_identifier"] is None
    site.stop()
    site.sql(f"drop owned by {role}")
    site.sql(f"drop role {role}")


def test_a_redis_user_with_the_rights_that_the_manual_names(site):
    admin = site.redis.client()
    admin.acl_setuser("leeway", enabled=True, passwords=["+word"], channels=["leeway:*"],
                      keys=["leeway:*", "{leeway:jobs}:*"], categories=["+@all"])
    admin.config_set("requirepass", "other")
    site.configure(ROUTES, redis='username = "leeway"  password = "word"')
    site.start_worker("-n", "1")
    assert [name_at(site)[1].split(";")[1] for _ in range(2)] == [" fwd=uri-miss", " hit"]
    admin.config_set("requirepass", "")


# --- files

def test_what_is_kept_follows_no_link(site):
    site.configure(ROUTES)
    site.start_worker(name="first").stop()
    name = next(name for name in os.listdir(site.path("run")) if name.startswith("identity."))
    kept, aim = os.path.join(site.path("run"), name), site.path("aim")
    os.rename(kept, aim)
    os.symlink(aim, kept)
    before = open(aim, encoding="utf-8").read()
    site.address.clear()
    worker = site.start_worker(name="second")
    assert status_at(site) == 503  # it was not read
    site.address.point(site.postgres)
    await_name(site, "own")
    wait_until(lambda: not os.path.islink(kept), "it is replaced")
    assert open(aim, encoding="utf-8").read() == before
    worker.stop()
    assert not [name for name in os.listdir(site.path("run")) if name.endswith(".new")]


def test_what_is_kept_and_removed_is_kept_anew(site):
    site.configure(ROUTES)
    site.start_worker()
    assert name_at(site)[0] == "own"
    name = next(name for name in os.listdir(site.path("run")) if name.startswith("identity."))
    os.unlink(os.path.join(site.path("run"), name))
    wait_until(lambda: os.path.exists(os.path.join(site.path("run"), name)), "it is there again")


def test_a_kept_file_that_is_broken_counts_for_nothing(site):
    site.configure(ROUTES)
    site.start_worker(name="first").stop()
    name = next(name for name in os.listdir(site.path("run")) if name.startswith("identity."))
    with open(os.path.join(site.path("run"), name), "r+", encoding="utf-8") as file:
        file.truncate(40)
    site.address.clear()
    site.start_worker()
    assert status_at(site) == 503
    site.address.point(site.postgres)
    await_name(site, "own")


def kept_file(site):
    name = next(name for name in os.listdir(site.path("run")) if name.startswith("identity."))
    return os.path.join(site.path("run"), name)


def test_what_is_kept_may_have_bytes_that_are_not_utf_8(site):
    site.configure(ROUTES)
    site.environment = {**os.environ, "PGOPTIONS": "-c search_path=public,caf\udce9"}
    site.start_worker("-n", "1", name="first").stop()
    site.address.clear()
    worker = site.start_worker("-n", "1")
    assert ready(site)[0] == 200, worker.log_text()


# --- /ready

def test_a_route_of_that_pattern_comes_before_ready(site):
    site.configure(ROUTES + 'route "/ready" { sql = "select 2"  shape = value }')
    site.start_worker("-n", "1")
    assert site.ask("/ready")[2] == b"2"


def test_ready_says_that_the_process_stops(site):
    """Asked by a request that had begun to come before."""
    site.configure(ROUTES)
    worker = site.start_worker("-n", "1")
    asked = fastcgi.request("/ready")
    with fastcgi.Connection(site.socket) as connection:
        connection.send(asked[:40])
        assert site.ask("/health")[0] == 200  # what came first has been seen
        worker.send(signal.SIGTERM)
        wait_until(lambda: re.search(r'^leeway_workers\{state="draining"\} 1$',
                                     ctl(site, "metrics").stdout, re.M), "it stops")
        connection.send(asked[40:])
        status, _, body = connection.read_answer()
    assert (status, json.loads(body)) == (503, {
        "status": "unready", "reasons": ["draining"], "details": ["the process stops"]})
    assert worker.wait() == 0


def test_ready_has_a_path_of_its_own(site):
    for setting, other in (('ready_path = "/health"', "health_path"),
                           ('ready_path = "/metrics"', "metrics_path")):
        site.configure(ROUTES, settings=setting)
        run = site.run("leeway-worker", "-c", site.config, "-t")
        assert run.returncode == 1 and f"{other} and ready_path are the same" in run.stderr
    site.configure(ROUTES, settings='ready_path = ""\nhealth_path = ""')
    assert site.run("leeway-worker", "-c", site.config, "-t").returncode == 0


def test_ready_elsewhere_or_off(site):
    site.configure(ROUTES, settings='ready_path = "/up/ready"')
    worker = site.start_worker("-n", "1")
    assert site.ask("/up/ready")[0] == 200 and site.ask("/ready")[0] == 404
    worker.stop()
    site.configure(ROUTES, settings='ready_path = ""')
    site.start_worker("-n", "1", name="off")
    assert site.ask("/ready")[0] == 404
