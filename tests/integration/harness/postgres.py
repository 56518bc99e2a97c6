# SPDX-License-Identifier: BSD-2-Clause
"""One private Postgres for the whole run; each test has a database of its own."""
import glob
import os
import signal
import subprocess

import psycopg2

from .process import Process, unprivileged_account
from .wait import wait_until


def find_program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"),
                   key=lambda path: int(path.split("/")[4]))
    return found[-1] if found else name


# To stand in a from clause: one row, which comes only while no gate is shut.
GATE = "pg_advisory_xact_lock_shared(1)"


class Gate:
    """Shut from the start; open() or the end of a `with` lets the queries go on."""

    def __init__(self, connection):
        self.connection = connection
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_lock(1)")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.open()

    def open(self):
        self.connection.close()


class Postgres:
    """Logs every statement, so that tests can count queries by a marker in them."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.account = unprivileged_account()
        self.data = os.path.join(self.folder, "data")
        self.process = None
        os.makedirs(self.data, exist_ok=True)
        if self.account:
            os.chown(self.folder, self.account.pw_uid, self.account.pw_gid)
            os.chown(self.data, self.account.pw_uid, self.account.pw_gid)
        self.run(find_program("initdb"), "-D", self.data, "-U", "leeway", "-A", "trust", "-N",
                 "-E", "UTF8", "--locale=C.UTF-8", "--wal-segsize=1")
        self.demand_passwords_of("guarded")
        self.start()

    @classmethod
    def copy_of(cls, other, folder):
        """Another server with the data, and the identity, that `other` has now."""
        made = cls.__new__(cls)
        made.folder = str(folder)
        made.account = other.account
        made.data = os.path.join(made.folder, "data")
        os.makedirs(made.folder, exist_ok=True)
        if made.account:
            os.chown(made.folder, made.account.pw_uid, made.account.pw_gid)
        made.run(find_program("pg_basebackup"), "-D", made.data, "-h", other.folder, "-U", "leeway",
                 "-c", "fast", "-X", "stream", "--no-sync")
        made.start()
        return made

    def run(self, *argv):
        user = {"user": self.account.pw_uid, "group": self.account.pw_gid,
                "extra_groups": []} if self.account else {}
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **user)

    def demand_passwords_of(self, role):
        """The first line that fits counts."""
        with open(os.path.join(self.data, "pg_hba.conf"), "r+", encoding="utf-8") as rules:
            text = rules.read()
            rules.seek(0)
            rules.write(f"local all {role} scram-sha-256\n{text}")

    @property
    def log(self):
        return os.path.join(self.folder, "postgres.log")

    def start(self):
        self.process = Process(
            [find_program("postgres"), "-D", self.data, "-k", self.folder, "-h", "",
             "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=200",
             "-c", "log_statement=all", "-c", "log_line_prefix=%d "],
            self.log, account=self.account, cwd=self.folder)
        wait_until(self.answers, "Postgres answers")

    def answers(self):
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self):
        """At once, as after a crash."""
        self.process.stop(signal.SIGQUIT)

    def hang(self):
        """Connections are made and nothing is answered, until go_on()."""
        self.signal_all(signal.SIGSTOP)

    def go_on(self):
        self.signal_all(signal.SIGCONT)

    def signal_all(self, number):
        for pid in [self.process.pid, *self.process.children()]:
            os.kill(pid, number)

    def conninfo(self, database):
        return f"host={self.folder} user=leeway dbname={database}"

    def connect(self, database):
        connection = psycopg2.connect(self.conninfo(database))
        connection.autocommit = True
        return connection

    def create_database(self, name):
        self.execute("postgres", f"create database {name}")

    def drop_database(self, name):
        self.execute("postgres", f"drop database if exists {name} with (force)")

    def execute(self, database, sql, *values):
        """All rows, or None for a statement without."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values or None)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def is_idle(self, database):
        """Whether no client runs a query but the one that asks."""
        return not self.execute("postgres", "select from pg_stat_activity where datname = %s "
                                "and state = 'active' and query not like '%%pg_advisory%%lock(1)%%'",
                                database)

    def gate(self, database):
        """Holds up every query of `database` that has GATE in it until it is opened."""
        return Gate(self.connect(database))

    def count_executions(self, database, marker):
        """How often a statement with `marker` in it was executed in `database`."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return sum(1 for line in log
                       if line.startswith(database + " ") and "execute " in line and marker in line)
