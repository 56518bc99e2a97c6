# SPDX-License-Identifier: BSD-2-Clause
"""Processes that end with the test, each with a log file that a failed test shows."""
import os
import pwd
import signal
import subprocess

from .wait import PATIENCE_S


def unprivileged_account():
    """Whom to run as what refuses root; None if we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no account to run Postgres as")


def ignores_hangup(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            mask = next(line.split()[1] for line in status if line.startswith("SigIgn:"))
    except (OSError, StopIteration):
        return False
    return bool(int(mask, 16) & 1 << signal.SIGHUP - 1)


def tree(pid):
    """`pid` and all that descend from it."""
    pids = [pid]
    for parent in pids:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as children:
                    pids += [int(child) for child in children.read().split()]
        except OSError:
            continue
    return pids


def signal_each(pids, number):
    """Those that are gone have what they need."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class Process:
    """A started program. `log` collects its standard output and error."""

    def __init__(self, argv, log, account=None, **options):
        def become():
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)

        self.argv = [str(part) for part in argv]
        self.log = log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                self.argv, stdout=out, stderr=options.pop("stderr", subprocess.STDOUT),
                stdin=options.pop("stdin", subprocess.DEVNULL),
                preexec_fn=become if account else None, **options)

    @property
    def pid(self):
        return self.popen.pid

    def is_running(self):
        return self.popen.poll() is None

    def send(self, number):
        if self.is_running():
            os.kill(self.pid, number)

    def wait(self, seconds=PATIENCE_S):
        """The exit status; negative for a signal."""
        return self.popen.wait(seconds)

    def stop(self, number=signal.SIGTERM):
        """Ends it; by force, and what it has started with it, if need be. The exit status."""
        self.send(signal.SIGCONT)
        self.send(number)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill_tree()
            return self.wait()

    def kill_tree(self):
        """Held still meanwhile, so that it replaces none of those that go."""
        self.send(signal.SIGSTOP)
        signal_each(tree(self.pid), signal.SIGKILL)

    def has_pending(self, number):
        """Whether a signal was sent that it has not taken as yet."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            masks = [int(line.split()[1], 16) for line in status
                     if line.startswith(("SigPnd:", "ShdPnd:"))]
        return any(mask & 1 << number - 1 for mask in masks)

    def children(self):
        """Pids of its children that live."""
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as listing:
                return [int(pid) for pid in listing.read().split()]
        except OSError:
            return []

    def has_children(self, count):
        """Whether it has `count` children and all of them take signals as they mean to: they
        ignore SIGHUP once they have arranged for SIGTERM."""
        pids = self.children()
        return len(pids) == count and all(ignores_hangup(pid) for pid in pids)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return text.read()
