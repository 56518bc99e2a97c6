# SPDX-License-Identifier: BSD-2-Clause
"""The servers that all contestants share, in a temporary folder, gone at the end."""
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile

from harness.postgres import Postgres
from harness.process import signal_each, tree
from harness.redis_server import Redis
from harness.stack import Stack, program
from harness.wait import wait_until

# leaves room, within the hundred bytes of a Unix socket's path, for what is put below
LONGEST_TEMPORARY = 40


def temporary_folder():
    """What TMPDIR says where that will do: socket paths must be short, and servers that give up
    being root must get there."""
    folder = os.path.realpath(tempfile.gettempdir())
    way = [folder]
    while way[-1] != "/":
        way.append(os.path.dirname(way[-1]))
    is_open = os.geteuid() != 0 or all(os.stat(part).st_mode & 0o001 for part in way)
    return folder if is_open and len(folder) <= LONGEST_TEMPORARY else "/tmp"


def exit_on_signals():
    """So that a World is left the usual way. What comes after the first signal must not disturb
    that; `timeout` sends each twice."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(number, _frame):
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in numbers:
        signal.signal(number, leave)


def kill_the_rest():
    """What was being started when something failed, and is known to nobody."""
    signal_each(tree(os.getpid())[1:], signal.SIGKILL)


class World:
    """`with World() as world:`; world.redis, world.postgres and world.stack, whose database is
    DATABASE. `missing` are the names of contestants that could not be had."""

    DATABASE = "bench"

    def __enter__(self):
        exit_on_signals()
        self.missing = []
        with contextlib.ExitStack() as ends:
            self.folder = tempfile.mkdtemp(prefix="leeway-bench-", dir=temporary_folder())
            ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
            ends.callback(kill_the_rest)
            self.start(ends)
            self.ends = ends.pop_all()
        return self

    def start(self, ends):
        """What is to be stopped, and be it that the next does not start, goes to `ends`."""
        os.chmod(self.folder, 0o755)
        os.mkdir(os.path.join(self.folder, "pg"))
        os.mkdir(os.path.join(self.folder, "redis"))
        self.redis = Redis(os.path.join(self.folder, "redis"))
        ends.callback(self.redis.stop)
        self.postgres = Postgres(os.path.join(self.folder, "pg"))
        ends.callback(self.postgres.stop)
        self.postgres.create_database(self.DATABASE)
        # web servers give up being root
        os.chmod(self.redis.socket, 0o777)
        self.stack = Stack(self.folder, self.postgres, self.redis, self.DATABASE)
        ends.callback(self.stack.stop)

    def __exit__(self, *exception):
        self.ends.close()


class Backend:
    """Something that answers by FastCGI at `socket`; `process` is the root of its tree."""

    def __init__(self, name, path, process, workers):
        self.name = name
        self.socket = path
        self.process = process
        self.workers = workers


def start_leeway(world, name, routes, workers, refreshers=0, **settings):
    """A Backend, and its stack as `stack`."""
    host = world.stack.beside(name.replace(" ", "-").replace(",", ""))
    host.configure(routes, workers=workers, **settings)
    process = host.start_worker()
    os.chmod(host.socket, 0o666)
    backend = Backend(name, host.socket, process, workers)
    backend.stack = host
    backend.refresher = host.start_refresher("-n", str(refreshers)) if refreshers else None
    return backend


def listen(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(511)
    os.chmod(path, 0o666)
    return listener


def start_plain(world, name, workers, *arguments, under=()):
    """contrib/bench/plain_fcgi.c as a Backend; `under` are words before its command."""
    file_name = name.replace(" ", "-").replace(",", "")
    path = world.stack.path(file_name + ".sock")
    with listen(path) as listener:
        process = world.stack.start_process(file_name, [
            *under, program("contrib/bench/plain_fcgi"), str(workers), *map(str, arguments)],
            stdin=listener)
    wait_until(lambda: len(process.children()) == workers, f"{name} is there")
    return Backend(name, path, process, workers)
