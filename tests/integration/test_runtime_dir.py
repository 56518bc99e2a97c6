# SPDX-License-Identifier: BSD-2-Clause
"""runtime_dir: what others put there is not used, and what they take away is noticed and mended."""
import contextlib
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import time

import pytest

from harness.postgres import GATE
from harness.stack import program
from harness.wait import wait_until

ROUTES = f"""
context "c" {{ budget = 1h }}
route "/echo/{{n}}" {{ context = "c"  param "n" {{ type = int }}
                      sql = "select $1::int as n"  shape = value }}
route "/gated/{{n}}" {{ context = "c"  param "n" {{ type = int }}
                       sql = "select $1::int as n from {GATE} -- marker:gated"  shape = value }}
"""
NO_ROOM = "No space left on device"
ANEW = "removed and have been made anew"


def run_dir(stack, *names):
    return stack.path(os.path.join("run", *names))


def start_worker_that_cannot(stack, complaint):
    """Its children die, and are replaced, until what they complain of is mended."""
    stack.expect_deaths = True
    worker = stack.start_process("worker", stack.worker_command())
    wait_until(lambda: complaint in worker.log_text() or worker.has_children(1), "it has started")
    return worker


@pytest.mark.parametrize("name", ["metrics.0", "slots"])
@pytest.mark.parametrize("put", [os.symlink, os.link], ids=["link", "second name"])
def test_a_foreign_file_is_not_written_to(stack, name, put):
    stack.configure(ROUTES, workers=1)
    victim = stack.path("victim")
    with open(victim, "w", encoding="ascii") as out:
        out.write("precious")
    os.chmod(victim, 0o600)
    os.mkdir(run_dir(stack))
    put(victim, run_dir(stack, name))
    complaint = f"{run_dir(stack, name)} is not used: it "
    worker = start_worker_that_cannot(stack, complaint)
    assert os.path.getsize(victim) == 8
    with open(victim, encoding="ascii") as text:
        assert text.read() == "precious"
    assert complaint in worker.log_text()
    os.unlink(run_dir(stack, name))
    wait_until(stack.worker_answers, "it serves")


def test_a_directory_that_everybody_may_write_to(stack):
    stack.configure(ROUTES, workers=1)
    os.mkdir(run_dir(stack))
    os.chmod(run_dir(stack), 0o1777)
    complaint = f"everybody may write to {run_dir(stack)}"
    assert complaint in start_worker_that_cannot(stack, complaint).log_text()
    assert not os.listdir(run_dir(stack))
    os.chmod(run_dir(stack), 0o755)
    wait_until(stack.worker_answers, "it serves")


def queries(stack):
    """As leewayctl counts them, which has no part in them."""
    run = stack.run("leewayctl", "-c", stack.config, "metrics")
    found = re.search(r'queries_total\{route="/echo/{n}",origin="miss"\} (\d+)', run.stdout)
    return int(found[1]) if found else 0


def remove_files(stack):
    for name in os.listdir(run_dir(stack)):
        os.unlink(run_dir(stack, name))


def remove_directory(stack):
    shutil.rmtree(run_dir(stack))


@pytest.mark.parametrize("remove", [remove_files, remove_directory])
def test_counters_go_on_where_they_were(stack, remove):
    stack.configure(ROUTES)
    worker, refresher = stack.start_worker(), stack.start_refresher()
    for number in range(20):
        assert stack.ask(f"/echo/{number}")[0] == 200
    assert queries(stack) == 20
    remove(stack)
    wait_until(lambda: queries(stack) == 20, "the counters are back")
    for number in range(20, 30):
        assert stack.ask(f"/echo/{number}")[0] == 200
    assert queries(stack) == 30

    def said():
        return worker.log_text().count(ANEW) + refresher.log_text().count(ANEW)

    # each process of its metrics, one of the slots
    wait_until(lambda: said() == 3 + 1, "it is said")
    assert worker.log_text().count("the slots were " + ANEW) == 1
    names = ["metrics.0", "metrics.1", "metrics.2", "slots"]
    # and what is known of the database
    assert sorted(name for name in os.listdir(run_dir(stack))
                  if not name.startswith("identity.")) == names


def test_the_counters_of_who_came_first_are_not_needed_to_see_the_others(stack):
    stack.configure(ROUTES)
    stack.start_worker("-n", "1")
    assert stack.ask("/echo/1")[0] == 200
    os.rename(run_dir(stack, "metrics.0"), run_dir(stack, "metrics.7"))
    assert queries(stack) >= 1


def is_locked(path):
    """Whether anybody holds a slot."""
    whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with open(path, "rb+") as file:
        answer = fcntl.fcntl(file, fcntl.F_GETLK, whole)
    return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK


def test_slots_still_bound_queries(stack):
    stack.configure(ROUTES, postgres="slots = 1\nslot_timeout = 300ms")
    worker = stack.start_worker()
    with stack.gate():
        first = stack.ask_later("/gated/1")
        wait_until(lambda: stack.executions("marker:gated") == 1, "the query is under way")
        os.unlink(run_dir(stack, "slots"))
        wait_until(lambda: os.path.exists(run_dir(stack, "slots")) and
                   is_locked(run_dir(stack, "slots")), "the slot is held anew")
        # whichever worker is asked
        for number in range(2, 8):
            assert stack.ask(f"/gated/{number}")[0] == 503
        assert stack.executions("marker:gated") == 1
    assert first.result()[0] == 200
    assert stack.ask("/gated/9")[0] == 200
    assert worker.log_text().count(ANEW) == 1


def test_what_cannot_be_mended_is_said_once_and_served_on(stack):
    stack.configure(ROUTES, workers=1)
    worker = stack.start_worker()
    assert stack.ask("/echo/1")[0] == 200
    remove_directory(stack)
    with open(run_dir(stack), "w", encoding="ascii"):
        pass
    complaint = "are gone and cannot be made anew"
    wait_until(lambda: worker.log_text().count(complaint) == 2, "metrics and slots are missed")
    assert stack.ask("/echo/2")[0] == 200
    os.unlink(run_dir(stack))
    wait_until(lambda: worker.log_text().count(ANEW) == 2, "both are back")
    assert worker.log_text().count(complaint) == 2
    assert queries(stack) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_directory_shared_by_a_group(stack):
    """A refresher of another user leaves the workers' slots alone and takes its own."""
    os.mkdir(run_dir(stack))
    os.chown(run_dir(stack), 0, 12345)
    os.chmod(run_dir(stack), 0o2770)
    os.chmod(stack.folder, 0o755)
    os.chmod(stack.redis.socket, 0o777)
    stack.configure(ROUTES, workers=1)
    stack.start_worker()
    refresher = stack.start_process(
        "refresher", ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups",
                      program("leeway-refresher"), "-c", stack.config])
    wait_until(lambda: refresher.has_children(1), "the refresher is there")
    wait_until(lambda: os.path.exists(run_dir(stack, "metrics.1")), "it has a slot of its own")
    assert os.stat(run_dir(stack, "metrics.1")).st_uid == 12345
    assert stack.ask("/echo/1")[0] == 200


@pytest.fixture(name="small")
def make_small(stack):
    """A runtime_dir on a file system of its own; the function that leaves no room there."""
    os.mkdir(run_dir(stack))
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0755", "tmpfs", run_dir(stack)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted")

    def fill():
        with open(run_dir(stack, "fill"), "wb", buffering=0) as out, \
                contextlib.suppress(OSError):
            while True:
                out.write(b"x" * 4096)
    yield fill
    stack.stop()
    subprocess.run(["umount", "-l", run_dir(stack)], check=True)


def test_a_full_runtime_dir_ends_no_worker(stack, small):
    """New ones find no room; those that serve look into what is there and go on."""
    stack.configure(ROUTES, workers=2)
    worker = stack.start_worker()
    before = worker.children()
    small()
    stack.expect_deaths = True
    worker.send(signal.SIGHUP)
    wait_until(lambda: worker.log_text().count(NO_ROOM) >= 2, "there is no room")
    time.sleep(6)  # they look every 5 s
    assert stack.ask("/metrics")[0] == 200
    assert set(before) <= set(worker.children())
    assert "signal=" not in worker.log_text()
    os.unlink(run_dir(stack, "fill"))
    stack.await_replaced(worker, before)


def test_a_file_without_room_ends_nobody_who_reads_it(stack, small):
    """As a process of another release may leave it: its size is there, and nothing else."""
    stack.configure(ROUTES, workers=2)
    worker = stack.start_worker()
    before = worker.children()
    stack.expect_deaths = True
    with open(run_dir(stack, "metrics.7"), "wb") as out:
        out.truncate(os.path.getsize(run_dir(stack, "metrics.0")))
    small()
    assert stack.ask("/metrics")[0] == 200
    assert worker.children() == before
