# SPDX-License-Identifier: BSD-2-Clause
"""leeway's programs over private servers, as a user would run them."""
import json
import os
import re
import signal
import socket
import subprocess

from . import fastcgi, http
from .entry import Entries
from .network import free_port
from .process import Process
from .shim import Shim
from .wait import wait_until

BUILD = os.environ.get("LEEWAY_BUILDDIR", os.getcwd())
FINDINGS = re.compile(r"ERROR: (Address|Leak|UndefinedBehavior)Sanitizer|runtime error:")
# 15 is the harness's own SIGTERM, should it find a child that has only just begun
DEATHS = re.compile(r'msg="child died"(?!.* signal=15\b)')


def program(name):
    return os.path.join(BUILD, name)


class Stack:
    """Starts nothing by itself but what a test asks for."""

    def __init__(self, folder, postgres, redis, database):
        self.folder = str(folder)
        self.postgres = postgres
        self.redis = redis
        self.redis_address, self.redis_settings = redis.address, redis.settings
        self.database = database
        self.port = None
        self.tcp_port = None  # of the worker, instead of a Unix socket
        self.processes = []
        self.postgres_conninfo = postgres.conninfo(database)
        self.expect_deaths = False
        self.environment = None  # of the processes to start
        self.others = []
        self.workers = None
        self.worker = self.refresher = None
        self.worker_program = "leeway-worker"
        self.entries = Entries(redis)

    def path(self, name):
        return os.path.join(self.folder, name)

    def beside(self, name):
        """Another host: a stack of its own runtime_dir and socket over the same servers."""
        folder = self.path(name)
        os.mkdir(folder)
        other = Stack(folder, self.postgres, self.redis, self.database)
        other.port = self.port
        self.others.append(other)
        return other

    def shim(self, machine_id=None):
        """For what is started from now on."""
        shim = Shim(program("tests/integration/shim.so"), self.path("shim"), machine_id)
        self.environment = shim.environment
        return shim

    def reach_redis_by(self, path):
        """Through what listens there, as a proxy does, from the next configure() on."""
        self.redis_address, self.redis_settings = f"unix:{path}", ""

    def sanitizer_environment(self):
        """Of processes whose standard error goes nowhere: what a sanitizer finds goes to files,
        which findings() looks for."""
        said = "log_path=" + self.path("sanitizer")
        return {**os.environ, "ASAN_OPTIONS": said, "UBSAN_OPTIONS": said}

    @property
    def config(self):
        return self.path("leeway.conf")

    @property
    def socket(self):
        return ("127.0.0.1", self.tcp_port) if self.tcp_port else self.path("leeway.sock")

    def configure(self, routes, settings="", redis="", postgres="", workers=2):
        """Writes leeway.conf; `routes` are contexts and routes, the others further settings."""
        self.workers = workers
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(f"""
workers = {workers}
refreshers = 1
runtime_dir = "{self.path('run')}"
{settings}
redis {{
  address = "{self.redis_address}"
  {self.redis_settings}
  {redis}
}}
postgres {{
  conninfo = "{self.postgres_conninfo}"
  {postgres}
}}
{routes}
""")

    def sql(self, statement, *values):
        return self.postgres.execute(self.database, statement, *values)

    def executions(self, marker):
        """How often a route's statement with `marker` in it has reached Postgres."""
        return self.postgres.count_executions(self.database, marker)

    def start_process(self, name, argv, **options):
        process = Process(argv, self.path(name + ".log"), env=self.environment, **options)
        self.processes.append(process)
        return process

    def worker_command(self, *options):
        address = f"tcp:127.0.0.1:{self.tcp_port}" if self.tcp_port else "unix:" + self.socket
        return [program(self.worker_program), "-c", self.config, "-s", address, *options]

    def start_worker(self, *options, name="worker"):
        worker = self.start_process(name, self.worker_command(*options))
        self.await_start(worker, self.worker_answers)
        count = self.children_wanted(options, self.workers)
        wait_until(lambda: worker.has_children(count), "all workers are there")
        return worker

    @staticmethod
    def children_wanted(options, configured):
        return int(options[options.index("-n") + 1]) if "-n" in options else configured

    @staticmethod
    def await_start(process, ready):
        wait_until(lambda: not process.is_running() or ready(), "it has started")
        assert process.is_running(), process.log_text()

    def worker_answers(self):
        """Any answer will do: mount and health_path are the test's own."""
        try:
            return bool(self.ask("/health"))
        except (OSError, fastcgi.Closed):
            return False

    def start_refresher(self, *options, name="refresher"):
        refresher = self.start_process(
            name, [program("leeway-refresher"), "-c", self.config, *options])
        count = self.children_wanted(options, 1)
        self.await_start(refresher, lambda: refresher.has_children(count))
        return refresher

    def kill_child(self, process):
        """Kills the first child and waits until another has taken its place."""
        before = process.children()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: process.has_children(len(before)) and
                   before[0] not in process.children(), "the child is replaced")

    def start_lighttpd(self):
        self.port = free_port()
        conf = self.path("lighttpd.conf")
        with open(conf, "w", encoding="utf-8") as out:
            out.write(f"""
server.document-root = "{self.folder}"
server.bind = "127.0.0.1"
server.port = {self.port}
server.modules = ("mod_fastcgi")
fastcgi.server = ("/" => (("socket" => "{self.socket}", "check-local" => "disable",
                           "fix-root-scriptname" => "enable")))
""")
        server = self.start_process("lighttpd", ["lighttpd", "-D", "-f", conf])
        wait_until(self.port_answers, "lighttpd answers")
        return server

    def port_answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def start(self, routes, refresher=True, **settings):
        """The whole: configuration, worker, refresher, lighttpd."""
        self.configure(routes, **settings)
        self.worker = self.start_worker()
        self.refresher = self.start_refresher() if refresher else None
        self.start_lighttpd()
        return self

    def gate(self):
        return self.postgres.gate(self.database)

    def get(self, path, method="GET", **headers):
        """Through lighttpd. A header's name is written with underscores."""
        return http.request(self.port, path, method,
                            {name.replace("_", "-"): value for name, value in headers.items()})

    def get_later(self, path, **options):
        return http.Background(lambda: self.get(path, **options))

    def get_many(self, paths):
        """All at once; the responses in the same order."""
        return [later.result() for later in [self.get_later(path) for path in paths]]

    def ask_later(self, uri, **options):
        return http.Background(lambda: self.ask(uri, **options))

    def ask(self, uri, **options):
        """Straight to the worker: status, headers, body."""
        with fastcgi.Connection(self.socket) as connection:
            return connection.ask(uri, **options)

    def run(self, name, *options, environment=None):
        """A program run to its end, for its output and exit status."""
        return subprocess.run([program(name), *options], capture_output=True, text=True,
                              timeout=30, check=False, env=environment)

    def jobs(self, kind="list"):
        """A key of the queue of this configuration; it must be there, and Redis."""
        said = self.run("leewayctl", "-c", self.config, "queue", "--json")
        assert said.returncode == 0, said.stderr
        return f"{{leeway:jobs}}:{json.loads(said.stdout)['list']}:{kind}"

    def await_replaced(self, process, before):
        """After a reload of `process`, whose children were `before`."""
        count = len(before)
        wait_until(lambda: process.has_children(count) and not set(process.children()) & set(before),
                   "all children are replaced")

    def stop(self):
        for other in self.others:
            other.stop()
        for process in reversed(self.processes):
            process.stop(signal.SIGTERM)

    def findings(self):
        """What a sanitizer said, or a child that died although no test killed it."""
        found = [finding for other in self.others for finding in other.findings()]
        found += [self.path(name) for name in os.listdir(self.folder)
                  if name.startswith("sanitizer.")]
        for process in self.processes:
            text = process.log_text()
            if FINDINGS.search(text):
                found.append(process.log)
            if not self.expect_deaths and DEATHS.search(text):
                found.append(process.log)
        return found

    def logs(self):
        return "".join(other.logs() for other in self.others) + \
            "".join(f"==== {process.log}\n{process.log_text()}\n" for process in self.processes)
