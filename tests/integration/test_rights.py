# SPDX-License-Identifier: BSD-2-Clause
"""The rights in Redis that contrib/redis/users.acl grants suffice, and none can be spared."""
import json
import os

import pytest
from harness.postgres import GATE
from harness.wait import PATIENCE_S, wait_until

USERS = os.path.join(os.path.dirname(__file__), "../../contrib/redis/users.acl")
OK, BAD, UNREACHABLE = 0, 1, 3
DOCS = os.path.join(os.path.dirname(__file__), "../../docs/redis.md")
ROLES = ("worker", "refresher", "operator")
ROUTES = f"""
context "c" {{ budget = 10m  refresh_at = 0.1 }}
route "/n/{{id}}" {{
  context = "c"
  param "id" {{ type = int }}
  sql = "select n from numbers, {GATE} where id = $1"
  shape = value
}}
"""
STALE_S = 70
# What does not work with too few rights is waited for in vain, and no longer than so.
IN_VAIN_S = 2


def read_users():
    users = {}
    with open(USERS, encoding="utf-8") as lines:
        for line in lines:
            word, name, *rules = line.split()
            assert word == "user" and name.startswith("leeway-")
            users[name[len("leeway-"):]] = rules
    return users


def rights_of(role):
    """Without what makes it a user."""
    return [rule for rule in read_users()[role] if rule[0] in "+~%&"]


def without(role, right):
    return [rule for rule in read_users()[role] if rule != right]


def cases(*roles):
    return [pytest.param(role, right, id=f"{role} {right}")
            for role in roles for right in rights_of(role)]


class Site:
    """Two hosts, of which the other has the refresher; each program is a Redis user of its own."""

    def __init__(self, stack):
        self.stack = stack
        self.client = stack.redis.client()
        self.patience = PATIENCE_S
        self.list = None
        self.other = stack.beside("other")
        stack.sql("create table numbers (id int primary key, n int)")
        stack.sql("insert into numbers select i, i from generate_series(1, 9) i")
        for role, rules in read_users().items():
            self.grant(role, rules)
        self.client.execute_command("ACL", "LOG", "RESET")

    def grant(self, role, rules):
        self.client.execute_command("ACL", "SETUSER", "leeway-" + role, "reset", *rules)

    def use(self, role, stack=None):
        """What is started or run from now on is that user."""
        password, = [rule[1:] for rule in read_users()[role] if rule[0] == ">"]
        (stack or self.stack).configure(
            ROUTES, workers=1, redis=f'username = "leeway-{role}"  password = "{password}"',
            postgres="statement_timeout = 10s")

    def start_worker(self, stack):
        self.use("worker", stack)
        stack.start_worker()

    def start_refresher(self):
        self.use("refresher", self.other)
        self.other.start_refresher()

    def ctl(self, role, *arguments):
        self.use(role)
        run = self.stack.run("leewayctl", "-c", self.stack.config, *arguments)
        assert "Sanitizer" not in run.stderr and "runtime error" not in run.stderr, run.stderr
        return run

    def check(self, role):
        run = self.ctl(role, "--json", "check", "--role", role)
        assert run.returncode in (OK, BAD, UNREACHABLE), run.stderr
        return run.returncode, json.loads(run.stdout)

    def happens(self, condition):
        try:
            return wait_until(condition, seconds=self.patience)
        except AssertionError:
            return False

    def refused(self):
        """What Redis has refused anybody."""
        return [(entry["username"], entry["object"]) for entry in self.client.acl_log()]

    # ---- what is shown: each step returns whether it worked

    def ask(self, number, stack=None):
        status, headers, body = (stack or self.stack).ask(f"/n/{number}")
        return body.decode(), headers.get("cache-status", str(status))

    def is_stored_and_hit(self):
        first, second = self.ask(1), self.ask(1)
        return first[1].endswith("stored") and second[1].startswith("leeway; hit")

    def set_calls(self):
        """Each SET by which a process shows that it lives comes with an SADD."""
        stats = self.client.info("commandstats")
        sets, shown = (sum(stats.get("cmdstat_" + name, {}).get(what, 0)
                           for what in ("calls", "rejected_calls")) for name in ("set", "sadd"))
        return sets - shown

    def lease_ms(self):
        return max([self.client.pttl(key) for key in self.client.keys("*:lease")], default=-2)

    def is_renewed(self):
        """A lease, while its query lasts."""
        seen = [self.lease_ms()]

        def renewed():
            seen.append(self.lease_ms())
            return seen[-1] > seen[-2] > 0
        return self.happens(renewed)

    def is_collapsed(self):
        """A request of the other host, while the query of the first is renewed."""
        with self.stack.gate() as gate:
            first = self.stack.ask_later("/n/2")
            leased = self.happens(lambda: self.lease_ms() > 0)
            before = self.set_calls()
            second = self.other.ask_later("/n/2")
            self.happens(lambda: self.set_calls() > before)
            renewed = self.is_renewed()
            gate.open()
            first, second = first.result()[1], second.result()[1]
        return bool(leased and renewed and first["cache-status"].endswith("stored") and
                    "collapsed" in second["cache-status"])

    def body(self):
        return self.stack.entries.only().body

    def queue(self, kind):
        return self.client.keys("{leeway:jobs}:*:" + kind + ":*")

    def jobs(self, kind):
        """A key of the queue of the only configuration, by a user who may ask."""
        if self.list is None:
            self.stack.configure(ROUTES)
            self.list = self.stack.jobs("")
        return self.list + kind

    def is_refreshed(self):
        """The only entry, and the job is settled. Its query lasts until its lease is renewed."""
        self.stack.sql("update numbers set n = n + 100")
        self.stack.entries.age(STALE_S)
        with self.stack.gate() as gate:
            self.ask(1)
            renewed = self.happens(lambda: self.lease_ms() > 0) and self.is_renewed()
            gate.open()
        return bool(renewed and self.happens(lambda: self.body() == "101") and
                    self.happens(lambda: not self.queue("processing") and not self.queue("mark")))

    def is_backed_off(self):
        """What fails to be refreshed. A worker that asked for a refresh just now does not ask again."""
        self.stack.entries.age(STALE_S)
        self.stack.sql("alter table numbers rename to hidden")
        marks = self.happens(lambda: self.ask(1) and self.queue("failures") and
                             not self.queue("processing") and self.queue("mark"))
        self.stack.sql("alter table hidden rename to numbers")
        return bool(marks and self.client.ttl(self.queue("failures")[0]) > 0)

    def is_put_back(self):
        """A job that a refresher had in hand when it died."""
        ghost = self.jobs("processing") + ":ghost"
        self.client.lpush(ghost, "[]")
        self.client.sadd(self.jobs("refreshers"), "ghost")
        return bool(self.happens(
            lambda: not self.client.exists(ghost) and
            not self.client.sismember(self.jobs("refreshers"), "ghost") and
            not self.client.exists(self.jobs("list"))))

    def is_enrolled(self):
        return bool(self.happens(lambda: self.queue("alive") and
                                 self.client.scard(self.jobs("refreshers")) == 1))

    def leaves(self):
        self.other.processes[-1].stop()
        return not self.queue("alive")


@pytest.fixture(name="site")
def make_site(stack):
    return Site(stack)


def serve(site, role):
    """All that a role does, up to the first step that does not work: which, or None. A worker notes
    which database it is; a refresher has to read that, alone on its host."""
    site.start_worker(site.stack)
    if not site.is_stored_and_hit():
        return "stored"
    if role == "worker":
        site.start_worker(site.other)
    site.start_refresher()
    steps = {"refreshed": site.is_refreshed}
    if role == "worker":
        steps["collapsed"] = site.is_collapsed
    else:
        steps.update({"enrolled": site.is_enrolled, "put back": site.is_put_back,
                      "backed off": site.is_backed_off, "leaves": site.leaves})
    return next((name for name, step in steps.items() if not step()), None)


@pytest.mark.parametrize("role", ["worker", "refresher"])
def test_the_rights_of_a_daemon_suffice(site, role):
    assert serve(site, role) is None
    assert not site.refused()


def test_the_rights_of_an_operator_suffice(site):
    site.start_worker(site.stack)
    site.ask(1)
    for arguments in (("check", "--role", "operator"), ("explain", "/n/1"), ("queue",),
                      ("identity",), ("identity", "--accept"), ("purge", "/n/1"),
                      ("purge", "--route", "n.id")):
        run = site.ctl("operator", *arguments)
        assert run.returncode == OK, (arguments, run.stdout, run.stderr)
    assert not site.refused()


@pytest.mark.parametrize("role", ROLES)
def test_check_of_a_role_finds_its_rights(site, role):
    code, found = site.check(role)
    assert code == OK, found
    assert found["rights"] and all(right["granted"] for right in found["rights"])
    rules = {rule for right in found["rights"] for rule in right["rules"].split()}
    assert {rule for rule in rules if rule[0] in "+&"} == \
        {rule for rule in rights_of(role) if rule[0] in "+&"}
    assert {rule.partition("~")[2] for rule in rules if rule[0] == "%"} == \
        {rule.partition("~")[2] for rule in rights_of(role) if rule[0] in "%~"}


def test_the_users_are_those_of_an_acl_file(folder, redis):
    redis.stop()
    with open(USERS, encoding="utf-8") as lines, \
            open(os.path.join(folder, "users.acl"), "w", encoding="utf-8") as out:
        out.write(lines.read())
    redis.start("--aclfile", os.path.join(folder, "users.acl"))
    assert set(redis.client().acl_users()) == {"default", *("leeway-" + role for role in ROLES)}


def test_the_manual_lists_each_right(site):
    with open(DOCS, encoding="utf-8") as text:
        docs = text.read()
    for role in ROLES:
        for right in site.check(role)[1]["rights"]:
            needed = "yes" if right["needed"] else "no"
            line = f"| `{right['right']}` | {', '.join(right['roles'])} | {needed} | " \
                f"{right['purpose']} |\n"
            assert line in docs


def missing(site, role):
    """What check says is missing: the rules, and whether serving needs one of them."""
    code, found = site.check(role)
    if code == UNREACHABLE:
        text, = [finding["text"] for finding in found["findings"]
                 if finding["level"] == "unreachable"]
        return text, True
    rights = [right for right in found["rights"] if right["granted"] is False]
    problem = any(finding["level"] == "problem" for finding in found["findings"])
    assert problem == (code == BAD)
    for right in rights:
        assert any(right["right"] in finding["text"] and right["purpose"] in finding["text"]
                   for finding in found["findings"] if finding["level"] != "ok")
    return " ".join(right["rules"] for right in rights), problem


def names(said, right):
    """`said` is rules, or what Redis says of a command that the connection itself needs."""
    return right.lstrip("+%RW~&") in said


@pytest.mark.parametrize("role, right", cases("operator"))
def test_an_operator_without_one_right(site, role, right):
    site.grant(role, without(role, right))
    said, problem = missing(site, role)
    assert names(said, right)
    assert problem == (right == "+time")


@pytest.mark.parametrize("role, right", cases("worker", "refresher"))
def test_a_daemon_without_one_right(site, role, right):
    site.grant(role, without(role, right))
    said, problem = missing(site, role)
    assert names(said, right), said
    if problem:
        site.patience = IN_VAIN_S
    failed = serve(site, role)
    assert (failed is not None) == problem, (failed, said)


@pytest.mark.parametrize("role", ROLES)
def test_check_tells_reading_from_writing(site, role):
    for right in rights_of(role):
        if right[0] == "~":
            for half in ("%R", "%W"):
                site.grant(role, without(role, right) + [half + right])
                assert names(missing(site, role)[0], right), half + right


@pytest.mark.parametrize("role", ROLES)
def test_check_tries_each_right_where_it_may_not_ask(site, role):
    """Without ACL DRYRUN, and without a trace in Redis."""
    rules = without(role, "+acl|dryrun")
    for right in [right for right in rights_of(role) if right not in ("+acl|dryrun", "+eval")]:
        site.grant(role, [rule for rule in rules if rule != right])
        assert names(missing(site, role)[0], right), right
    assert not site.client.keys("*")


def test_check_while_writes_are_held_back(site):
    """What is not answered is not missing, and Redis is not away for it."""
    rules = without("worker", "+acl|dryrun")
    site.grant("worker", rules)
    site.client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    said = site.ctl("worker", "check")
    site.client.execute_command("CLIENT", "UNPAUSE")
    assert "rights cannot be tried: no reply" in said.stdout and "missing" not in said.stdout
    assert "redis is away" not in said.stderr and 'command=""' not in said.stderr


def test_a_database_needs_select(site):
    site.grant("worker", read_users()["worker"])
    site.stack.redis_settings += "  database = 1"
    code, found = site.check("worker")
    text, = [finding["text"] for finding in found["findings"] if finding["level"] == "unreachable"]
    assert code == UNREACHABLE and "select" in text
    site.grant("worker", read_users()["worker"] + ["+select"])
    assert site.check("worker")[0] == OK
