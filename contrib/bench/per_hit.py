#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What one hit costs one worker, in figures that a busy machine does not change: system calls, and
instructions in user space. The requests are what nginx sends for a browser's GET, one after
another and straight to the worker. System calls are those of a worker that has served some hits
before it is looked at; what is not called for one hit in twenty is left out. Only instructions are
the difference between runs of different length, so that start and end do not count."""
import collections
import os
import re
import signal
import subprocess

# it is measure that makes harness known
from measure.markdown import number, table
from measure.world import World, start_plain

from harness import fastcgi
from harness.stack import Stack
from harness.wait import wait_until

FEW, MANY = 200, 1200
BODY = 2000
ROUTE_COUNTS = (10, 2000)  # with more it takes its time to start below callgrind
URI = "/items/7"
ROUTES = f"""
context "c" {{ budget = 1h }}
route "/items/{{id}}" {{
  context = "c"  param "id" {{ type = int }}
  sql = "select $1::int as id, repeat('x', {BODY - 18}) as text"  shape = object
}}
"""
VARIABLES = {
    "CONTENT_TYPE": "", "CONTENT_LENGTH": "", "DOCUMENT_URI": URI,
    "DOCUMENT_ROOT": "/usr/share/nginx/html", "REQUEST_SCHEME": "http",
    "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "nginx/1.22.1", "REMOTE_PORT": "40000",
    "REMOTE_USER": "", "SERVER_ADDR": "127.0.0.1", "SERVER_PORT": "8080", "SERVER_NAME": "",
    "REDIRECT_STATUS": "200", "HTTP_HOST": "api.example.org",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "HTTP_ACCEPT": "application/json", "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_ACCEPT_LANGUAGE": "en-GB,en;q=0.5", "HTTP_REFERER": "https://app.example.org/items",
}


def ask(path, count, keep):
    """`count` hits over one connection, or over one each."""
    request = fastcgi.request(URI, keep=keep, **VARIABLES)
    connection = None
    for _ in range(count):
        if connection is None:
            connection = fastcgi.Connection(path)
        connection.send(request)
        status, _, body = connection.read_answer()
        assert status == 200 and len(body) >= BODY - 50, (status, len(body))
        if not keep:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()


class Under(Stack):
    """Its worker serves by itself, below other words."""

    words = ()

    def worker_command(self, *options):
        return [*self.words, *super().worker_command("-n", "0", *options)]

    def start_worker(self, *options, name="worker"):
        worker = self.start_process(name, self.worker_command(*options))
        self.await_start(worker, self.worker_answers)
        return worker


def further_routes(count):
    return "".join(f'route "/api/resource{i}/{{id}}/detail" {{ context = "c"  shape = object  '
                   f'param "id" {{ type = int }}  sql = "select $1::int as id" }}\n'
                   for i in range(count))


def start(world, kind, name, words=(), routes=1):
    """A Backend-like pair: socket and process. `routes`: how many leeway has."""
    if kind != "leeway":
        backend = start_plain(world, name, 0, *(["fixed", BODY] if kind == "fixed" else [
            "get", world.redis.socket, "plain"]), under=words)
        return backend.socket, backend.process
    folder = world.stack.path(name)
    os.mkdir(folder)
    stack = Under(folder, world.postgres, world.redis, world.DATABASE)
    stack.words = words
    stack.configure(ROUTES + further_routes(routes - 1), workers=1)
    world.stack.others.append(stack)
    process = stack.start_worker()
    stack.ask(URI)
    return stack.socket, process


def tracer_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("TracerPid:"))


def trace(pid, out, work):
    """Calls work() while strace writes to `out`. It may not be permitted to."""
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", out, "-p", str(pid)])
    try:
        wait_until(lambda: tracer_of(pid) == tracer.pid or tracer.poll() is not None,
                   "strace has attached itself")
        work()
        tracer.terminate()
        status = tracer.wait(10)
    finally:
        tracer.kill()
        tracer.wait()
    assert status == -signal.SIGTERM, f"strace ended by itself, with status {status}"


def read_calls(out):
    calls = collections.Counter()
    with open(out, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            found = re.match(r"\d+ +(\w+)\(", line)
            if found:
                calls[found.group(1)] += 1
    return calls


def count_calls(world, kind, keep):
    """System calls a hit, by name."""
    path, process = start(world, kind, f"calls-{kind}-{keep}")
    ask(path, FEW, keep)
    out = world.stack.path(f"strace-{kind}-{keep}")
    trace(process.pid, out, lambda: ask(path, MANY, keep))
    process.stop()
    calls = read_calls(out)
    assert sum(calls.values()) >= MANY, f"strace saw {sum(calls.values())} calls in {MANY} hits"
    return {name: count / MANY for name, count in calls.items() if count >= MANY / 20}


def profile(world, kind, keep, hits, routes):
    """Instructions by the library they belong to."""
    name = f"{kind}-{keep}-{hits}-{routes}"
    out = world.stack.path(f"callgrind-{name}")
    path, process = start(world, kind, f"profile-{name}", (
        "valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=" + out), routes)
    ask(path, hits, keep)
    process.stop()
    text = subprocess.run(["callgrind_annotate", "--auto=no", "--threshold=100", out], check=True,
                          capture_output=True, text=True).stdout
    found = collections.Counter()
    for line in text.splitlines():
        figures = re.match(r" *([\d,]+) \([ \d.]+%\) +\S.*\[([^\]]+)\]", line)
        if figures:
            found[library_of(figures.group(2))] += int(figures.group(1).replace(",", ""))
    return found


def library_of(path):
    name = os.path.basename(path).split(".so")[0]
    return {"libc": "C library", "plain_fcgi": "program", "leeway-worker": "program"}.get(name, name)


def instructions(world, kind, keep, routes=1):
    few, many = (profile(world, kind, keep, hits, routes) for hits in (FEW, MANY))
    each = {name: (many[name] - few[name]) / (MANY - FEW) for name in many}
    return {name: count for name, count in each.items() if count >= 1}


KINDS = {"libfcgi": "fixed", "libfcgi + GET": "get", "leeway": "leeway"}


def prepare(world):
    """Something at "plain" that is as long as what leeway sends."""
    path, process = start(world, "leeway", "prepare")
    ask(path, 1, False)
    process.stop()
    _, _, stored = world.redis.client().get(world.stack.entries.only().key).partition("\n")
    world.redis.client().set("plain", "Status: 200 OK\r\n" + stored)


def run(world):
    """System calls and instructions by (program, kept), and instructions by number of routes."""
    prepare(world)
    calls, cost = {}, {}
    for keep in (False, True):
        for name, kind in KINDS.items():
            calls[name, keep] = count_calls(world, kind, keep)
            cost[name, keep] = instructions(world, kind, keep)

    def title(name, keep):
        return f"{name}, kept" if keep else name

    table("System calls a hit", ["", "in all", "which"],
          [[title(*who), number(sum(those.values()), 1),
            ", ".join(f"{name} {number(count, 1)}" for name, count in sorted(
                those.items(), key=lambda item: -item[1]))] for who, those in calls.items()])
    libraries = ["program", "libfcgi", "libhiredis", "C library", "libtalloc", "libev"]
    table("Instructions a hit, user space", ["", "in all", *libraries],
          [[title(*who), sum(those.values()), *(those.get(library, 0.0) for library in libraries)]
           for who, those in cost.items()])
    growth = {count: sum(instructions(world, "leeway", True, count).values())
              for count in ROUTE_COUNTS}
    table("Instructions a hit of leeway, kept, by number of routes",
          ["routes", "in all"], [[f"{count:,}", each] for count, each in growth.items()])
    return calls, cost, growth


if __name__ == "__main__":
    with World() as the_world:
        run(the_world)
