# SPDX-License-Identifier: BSD-2-Clause
"""Programs that spawn-fcgi starts: it leaves when they run, so we take them in."""
import contextlib
import ctypes
import os
import signal
import subprocess

from .wait import PATIENCE_S, wait_until

PR_SET_CHILD_SUBREAPER = 36


def state_of(pid):
    """As in /proc/PID/stat: R, S, T, Z, ...; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as text:
            return text.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def adopt_orphans(wanted):
    """Whether processes whose parent has ended become our children, not init's."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0) == -1:
        raise OSError("prctl")


class Adopted:
    """To the rest of the harness what Process is. Its output goes to /dev/null, but for that of
    the sanitizers."""

    def __init__(self, pid, log):
        self.pid = pid
        self.log = log
        self.status = None

    def is_running(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def send(self, number):
        if self.is_running():
            os.kill(self.pid, number)

    def wait(self, seconds=PATIENCE_S):
        """The exit status; negative for a signal."""
        wait_until(lambda: not self.is_running(), "it has ended", seconds)
        return self.status

    def stop(self, number=signal.SIGTERM):
        """Ends it, by force if need be. The exit status."""
        self.send(signal.SIGCONT)
        self.send(number)
        try:
            return self.wait()
        except AssertionError:
            self.send(signal.SIGKILL)
            return self.wait()

    def suspend(self):
        self.send(signal.SIGSTOP)
        wait_until(lambda: state_of(self.pid) in ("T", "Z", None), "it is suspended")

    def resume(self):
        self.send(signal.SIGCONT)

    def descriptor(self, number):
        return os.readlink(f"/proc/{self.pid}/fd/{number}")

    def count_descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def log_text(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return text.read()


def spawn(stack, count, *argv):
    """`count` processes on stack.socket, all of them the stack's to end."""
    pid_file = stack.path("spawned.pid")
    findings = stack.path("spawned-findings")
    environment = dict(os.environ)
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        before = os.environ.get(name)
        environment[name] = f"{before + ':' if before else ''}log_path={findings}"
    adopt_orphans(True)
    try:
        subprocess.run(["spawn-fcgi", "-F", str(count), "-s", stack.socket, "-M", "0660",
                        "-P", pid_file, "--", *argv], check=True, env=environment,
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S)
    finally:
        adopt_orphans(False)
    with open(pid_file, encoding="ascii") as pids:
        spawned = [Adopted(int(pid), f"{findings}.{pid}") for pid in pids.read().split()]
    stack.processes += spawned
    return spawned


@contextlib.contextmanager
def alone(process, processes):
    """`process` takes all requests meanwhile, for the others of `processes` are suspended."""
    others = [other for other in processes if other is not process and other.is_running()]
    for other in others:
        other.suspend()
    try:
        yield
    finally:
        for other in others:
            other.resume()
