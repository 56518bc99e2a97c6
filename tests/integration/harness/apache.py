# SPDX-License-Identifier: BSD-2-Clause
"""A private Apache that starts leeway-worker itself, through mod_fcgid."""
import os
import re

import pytest

from .process import unprivileged_account
from .spawn_fcgi import state_of
from .network import free_port
from .stack import program
from .wait import wait_until

MODULES = "/usr/lib/apache2/modules"
MOUNT = "/api"
# How mod_fcgid logs the end of a process. 15 is its own signal, should it reach one that has
# only just begun, and 9 the one that follows for one that is slow to end.
DISORDERLY = re.compile(r"return code: [1-9]|get [a-z ]*signal (?!(?:9|15)\b)")


class Apache:
    """Serves a configured stack at MOUNT; `settings` are lines of its configuration.
    It refuses to run its programs as root, and so all of it runs as somebody else then."""

    def __init__(self, stack, settings=""):
        if not os.path.exists(f"{MODULES}/mod_fcgid.so"):
            pytest.skip("mod_fcgid is not installed")
        self.stack = stack
        stack.port = free_port()
        self.write(stack.path("worker.sh"),
                   f'#!/bin/sh\nexec "{program("leeway-worker")}" -c "{stack.config}" -n 0\n')
        os.chmod(stack.path("worker.sh"), 0o755)
        self.configure(settings)
        account = self.give_away(unprivileged_account())
        self.process = stack.start_process(
            "apache", ["apache2", "-D", "FOREGROUND", "-f", stack.path("apache.conf")],
            account=account)
        wait_until(lambda: stack.port_answers() or not self.process.is_running(), "Apache answers")
        assert self.process.is_running(), self.process.log_text()

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)

    def give_away(self, account):
        """What it opens itself, given to whom it runs as."""
        self.write(self.stack.path("apache.log"), "")
        if account:
            for path in (self.stack.folder, self.stack.path("apache.log")):
                os.chown(path, account.pw_uid, account.pw_gid)
            os.chmod(self.stack.redis.socket, 0o777)
        return account

    def configure(self, settings):
        stack = self.stack
        load = "\n".join(f'LoadModule {name}_module "{MODULES}/mod_{name}.so"'
                         for name in ("mpm_event", "authz_core", "alias", "fcgid"))
        self.write(stack.path("apache.conf"), f"""
{load}
ServerRoot "{stack.folder}"
DefaultRuntimeDir "{stack.folder}"
PidFile "{stack.path('apache.pid')}"
ServerName localhost
Listen 127.0.0.1:{stack.port}
ErrorLog "{stack.path('apache.log')}"
LogLevel info
StartServers 1
ServerLimit 4
ThreadsPerChild 25
MaxRequestWorkers 100
ScriptAlias "{MOUNT}" "{stack.path('worker.sh')}"
AllowEncodedSlashes NoDecode
<Location "{MOUNT}">
  SetHandler fcgid-script
  Options +ExecCGI
  Require all granted
</Location>
FcgidIPCDir "{stack.path('fcgid')}"
FcgidProcessTableFile "{stack.path('fcgid.shm')}"
FcgidSpawnScoreUpLimit 1000
{settings}
""")

    def workers(self):
        """Pids of the leeway-workers of this configuration that live, whosever children."""
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and self.is_worker(pid)]

    def is_worker(self, pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as text:
                words = text.read().split(b"\0")
        except OSError:
            return False
        return words[0] == os.fsencode(program("leeway-worker")) and \
            os.fsencode(self.stack.config) in words and state_of(pid) not in ("Z", None)

    def assert_ends_were_orderly(self):
        assert not DISORDERLY.search(self.process.log_text())
