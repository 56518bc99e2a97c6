#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""How many instructions a hit takes in a worker, and how many of them are for the metrics, by
callgrind. Needs what the integration tests need, and valgrind; a build without sanitizers. Half a
minute."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../../tests/integration"))
# pylint: disable=wrong-import-position
from harness import fastcgi  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.redis_server import Redis  # noqa: E402
from harness.stack import Stack  # noqa: E402
from harness.wait import wait_until  # noqa: E402

HITS = 2000
ROUTES = """
context "c" { budget = 1h }
route "/items/{id}" {
  context = "c"
  param "id" { type = int }
  sql = "select $1::int as id, repeat('x', 1900) as text"
  shape = object
}
"""
# a processor of today does at least this many a nanosecond in code like this
INSTRUCTIONS_PER_NS = 2.0


def hit(connection, count):
    for _ in range(count):
        status, headers, _ = connection.ask("/items/7", keep=True)
        assert status == 200 and headers["cache-status"].startswith("leeway; hit")


def control(pid, *options):
    subprocess.run(["callgrind_control", *options, str(pid)], check=True,
                   stdout=subprocess.DEVNULL)


def inclusive(dump):
    """Instructions by function, what it calls included, and of the whole program."""
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", dump],
                          check=True, capture_output=True, text=True).stdout
    found = {}
    for number, name in re.findall(r"^ *([\d,]+) \([ \d.]+%\)  (?:\?\?\?|\S+):(\w+)", text, re.M):
        found[name] = max(found.get(name, 0), int(number.replace(",", "")))
    total = re.search(r"^ *([\d,]+) \(100.0%\)  PROGRAM TOTALS", text, re.M).group(1)
    return int(total.replace(",", "")), found


def measure(stack):
    out = stack.path("callgrind")
    stack.worker = stack.start_process("worker", [
        "valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
        *stack.worker_command("-n", "0")])
    wait_until(stack.worker_answers, "the worker answers")
    stack.ask("/items/7")
    with fastcgi.Connection(stack.socket) as connection:
        hit(connection, 100)
        control(stack.worker.pid, "-z")
        hit(connection, HITS)
        control(stack.worker.pid, "-d")
    dump = wait_until(lambda: next((os.path.join(stack.folder, name)
                                    for name in sorted(os.listdir(stack.folder), reverse=True)
                                    if re.fullmatch(r"callgrind\.\d+", name)), None), "the dump")
    return inclusive(dump)


def print_table(total, found):
    counting = sum(count for name, count in found.items() if name.startswith("metrics_")) / HITS
    names = ["metrics_response", "metrics_served_age", "redis_command", "parser_read", "fcgi_check", "route_table_find", "param_bind", "key_base",
             "answer_cache_headers", "entry_decode", "send_frame"]
    print(f"{HITS} hits of 2 kB on a kept connection\n\n| function, with what it calls | instructions "
          "a hit | share |\n|---|---:|---:|")
    print(f"| all | {total / HITS:.0f} | 100 % |\n| all but metrics |"
          f" {total / HITS - counting:.0f} | {100 - 100 * counting * HITS / total:.1f} % |")
    for name in names:
        if name in found:
            print(f"| {name} | {found[name] / HITS:.0f} | {100 * found[name] / total:.1f} % |")
    print(f"\nMetrics: {counting:.0f} instructions a hit, at {INSTRUCTIONS_PER_NS:.0f} a nanosecond "
          f"{counting / INSTRUCTIONS_PER_NS / 1000:.2f} us.")


def main():
    folder = tempfile.mkdtemp(prefix="lw-bench-", dir="/tmp")
    os.chmod(folder, 0o755)
    os.makedirs(os.path.join(folder, "pg"))
    redis, postgres = Redis(folder), Postgres(os.path.join(folder, "pg"))
    stack = Stack(folder, postgres, redis, "postgres")
    try:
        stack.configure(ROUTES)
        print_table(*measure(stack))
    finally:
        stack.stop()
        redis.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
