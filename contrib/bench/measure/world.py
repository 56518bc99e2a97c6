# SPDX-License-Identifier: BSD-2-Clause
"""The servers that all contestants share, in a temporary folder, gone at the end."""
import os
import shutil
import socket
import tempfile

from harness.postgres import Postgres
from harness.redis_server import Redis
from harness.stack import Stack, program
from harness.wait import wait_until


class World:
    """`with World() as world:`; world.redis, world.postgres and world.stack, whose database is
    DATABASE."""

    DATABASE = "bench"

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="leeway-bench-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        os.mkdir(os.path.join(self.folder, "pg"))
        os.mkdir(os.path.join(self.folder, "redis"))
        self.redis = Redis(os.path.join(self.folder, "redis"))
        self.postgres = Postgres(os.path.join(self.folder, "pg"))
        self.postgres.create_database(self.DATABASE)
        # web servers give up being root
        os.chmod(self.redis.socket, 0o777)
        self.stack = Stack(self.folder, self.postgres, self.redis, self.DATABASE)
        return self

    def __exit__(self, *exception):
        self.stack.stop()
        self.redis.stop()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


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
