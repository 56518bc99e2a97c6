#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a hit costs, against a plain libfcgi program that sends the same bytes from memory, and the
same with one GET: behind nginx (upstream connections kept or not) and lighttpd, interleaved in one
run. Figures: requests a second, percentiles, CPU per request of workers, web server and Redis (from
/proc). Needs what the integration tests need, and nginx and wrk. About four minutes."""
import collections
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../../tests/integration"))
# pylint: disable=wrong-import-position
from harness.postgres import Postgres  # noqa: E402
from harness.redis_server import Redis  # noqa: E402
from harness.stack import Stack, free_port, program  # noqa: E402
from harness.wait import wait_until  # noqa: E402

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
BODY = 2000
WORKERS = 8
FRONTS = os.environ.get("BENCH_FRONTS", "nginx;nginx, kept;lighttpd").split(";")
ROUTES = f"""
context "c" {{ budget = 1h }}
route "/hit" {{ context = "c"  sql = "select repeat('x', {BODY - 11}) as text"  shape = object }}
"""
TICK = os.sysconf("SC_CLK_TCK")


class Backend:
    """Something with a FastCGI socket, and the process whose tree it is."""

    def __init__(self, name, path, process):
        self.name = name
        self.path = path
        self.process = process
        self.ports = {}


def listening(path):
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    made.listen(511)
    os.chmod(path, 0o666)
    return made


def start_plain(stack, name, *arguments):
    path = stack.path(name.replace(" ", "-") + ".sock")
    with listening(path) as made:
        process = stack.start_process(name.replace(" ", "-"), [
            program("contrib/bench/plain_fcgi"), *arguments], stdin=made)
    return Backend(name, path, process)


def start_leeway(stack, workers):
    host = stack.beside(f"leeway-{workers}")
    host.configure(ROUTES, workers=workers)
    return Backend(f"leeway, {workers} workers", host.socket, host.start_worker()), host


def nginx_block(backend, keep):
    backend.ports["nginx, kept" if keep else "nginx"] = port = free_port()
    name = f"u{port}"
    return f"""
  upstream {name} {{ server unix:{backend.path}; {'keepalive 32;' if keep else ''} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      include /etc/nginx/fastcgi_params;
      fastcgi_pass {name};
      {'fastcgi_keep_conn on;' if keep else ''}
    }}
  }}"""


def start_nginx(stack, backends):
    blocks = "".join(nginx_block(backend, keep) for backend in backends for keep in (False, True))
    conf = stack.path("nginx.conf")
    with open(conf, "w", encoding="utf-8") as out:
        out.write(f"""
daemon off;
worker_processes 1;
pid {stack.path('nginx.pid')};
error_log {stack.path('nginx-error.log')};
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {stack.path('t1')};
  fastcgi_temp_path {stack.path('t2')}; proxy_temp_path {stack.path('t3')};
  uwsgi_temp_path {stack.path('t4')}; scgi_temp_path {stack.path('t5')};
{blocks}
}}
""")
    return stack.start_process("nginx", ["nginx", "-c", conf, "-p", stack.folder])


def start_lighttpd(stack, backends):
    conf = stack.path("lighttpd.conf")
    servers = []
    for backend in backends:
        backend.ports["lighttpd"] = port = free_port()
        servers.append(f"""
$SERVER["socket"] == "127.0.0.1:{port}" {{
  fastcgi.server = ("/" => (("socket" => "{backend.path}", "check-local" => "disable",
                             "fix-root-scriptname" => "enable")))
}}""")
    with open(conf, "w", encoding="utf-8") as out:
        out.write(f"""
server.document-root = "{stack.folder}"
server.bind = "127.0.0.1"
server.port = {free_port()}
server.modules = ("mod_fastcgi")
server.max-keep-alive-requests = 65535
{"".join(servers)}
""")
    return stack.start_process("lighttpd", ["lighttpd", "-D", "-f", conf])


def cpu_of(process):
    """Seconds of a process and of the children that live."""
    total = 0
    for pid in [process.pid, *process.children()]:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def seconds_of(text):
    number, unit = re.fullmatch(r"([0-9.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[unit]


def load(port, connections, watched):
    """One run of wrk: a second's warming up, then figures of the rest."""
    url = f"http://127.0.0.1:{port}/hit"
    subprocess.run(["wrk", "-t1", f"-c{connections}", "-d1", url], check=True,
                   stdout=subprocess.DEVNULL)
    before = {name: cpu_of(process) for name, process in watched.items()}
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}", "--latency", url],
                         check=True, capture_output=True, text=True).stdout
    done = int(re.search(r"(\d+) requests in", out).group(1))
    found = {name: (cpu_of(process) - before[name]) / done * 1e6
             for name, process in watched.items()}
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    timeouts = re.search(r"Socket errors: (.*)", out)
    return {"req/s": float(re.search(r"Requests/sec: +([0-9.]+)", out).group(1)),
            "p50": seconds_of(re.search(r"50% +(\S+)", out).group(1)) * 1e3,
            "p99": seconds_of(re.search(r"99% +(\S+)", out).group(1)) * 1e3,
            "max": seconds_of(re.search(r"Latency +\S+ +\S+ +(\S+)", out).group(1)) * 1e3,
            "errors": int(errors.group(1)) if errors else 0,
            "said": timeouts.group(1) if timeouts else "", **found}


def mean(runs, name):
    return sum(run[name] for run in runs) / len(runs)


def print_table(front, connections, runs):
    base = runs["libfcgi + GET"]
    print(f"\n{front}, {connections} connections\n\n"
          "| program | req/s | against GET | p50 ms | p99 | max | worker us/req | against GET "
          "| web server | Redis | errors |\n|---|---|---|---|---|---|---|---|---|---|---|")
    for name, those in runs.items():
        cells = [name, f"{mean(those, 'req/s'):.0f}",
                 f"{mean(those, 'req/s') / mean(base, 'req/s'):.2f}",
                 f"{mean(those, 'p50'):.2f}", f"{mean(those, 'p99'):.2f}",
                 f"{max(run['max'] for run in those):.0f}",
                 f"{mean(those, 'workers'):.1f}",
                 f"{mean(those, 'workers') / mean(base, 'workers'):.2f}",
                 f"{mean(those, 'web server'):.1f}", f"{mean(those, 'redis'):.1f}",
                 sum(run["errors"] for run in those) or
                 "; ".join(sorted({run["said"] for run in those if run["said"]})) or 0]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def compare(backends, webs, redis, connections):
    for front in FRONTS:
        runs = collections.defaultdict(list)
        for _ in range(ROUNDS):
            for backend in backends:
                watched = {"workers": backend.process, "redis": redis.process,
                           "web server": webs["nginx" if "nginx" in front else "lighttpd"]}
                runs[backend.name].append(load(backend.ports[front], connections, watched))
        print_table(front, connections, runs)


def main():
    folder = tempfile.mkdtemp(prefix="lw-bench-", dir="/tmp")
    os.chmod(folder, 0o755)
    os.makedirs(os.path.join(folder, "pg"))
    redis, postgres = Redis(folder), Postgres(os.path.join(folder, "pg"))
    os.chmod(redis.socket, 0o777)
    stack = Stack(folder, postgres, redis, "postgres")
    try:
        leeway, host = start_leeway(stack, WORKERS)
        default, _ = start_leeway(stack, os.cpu_count())
        host.ask("/hit")
        key = stack.entries.only().key
        line, _, rest = redis.client().get(key).partition("\n")
        assert line.startswith("lw1 ")
        redis.client().set("plain", "Status: 200 OK\r\n" + rest)
        backends = [start_plain(stack, "libfcgi", str(WORKERS), "fixed", str(BODY)),
                    start_plain(stack, "libfcgi + GET", str(WORKERS), "get", redis.socket, "plain"),
                    leeway, default]
        for backend in backends:
            wait_until(lambda: backend.process.children(), "it is there")  # pylint: disable=W0640
            os.chmod(backend.path, 0o666)
        webs = {"nginx": start_nginx(stack, backends),
                "lighttpd": start_lighttpd(stack, backends)}
        time.sleep(0.5)
        print(f"Hits of {BODY} bytes on one key, {ROUNDS} rounds of {SECONDS} s each; "
              f"{os.cpu_count()} processors, {WORKERS} workers where not said otherwise")
        for connections in (8, 64):
            compare(backends, webs, redis, connections)
    finally:
        stack.stop()
        redis.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
