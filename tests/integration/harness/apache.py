# SPDX-License-Identifier: BSD-2-Clause
"""A private Apache with mod_fcgid, which starts leeway-worker by itself."""
import os
import shutil

from .process import unprivileged_account
from .stack import free_port, program
from .wait import wait_until

MODULES = "/usr/lib/apache2/modules"


class Fcgid:
    """Below /api. mod_fcgid gives each process a socket of its own as descriptor 0."""

    def __init__(self, stack, settings=""):
        self.stack = stack
        self.settings = settings
        self.account = unprivileged_account()
        # what it starts runs as another user if we are root, and has to get at all of this
        os.chmod(stack.folder, 0o755)
        os.chmod(stack.redis.socket, 0o777)
        self.binary = shutil.copy(program("leeway-worker"), stack.path("leeway-worker"))
        for name in ("run", "fcgid"):
            os.mkdir(stack.path(name))
            if self.account:
                os.chown(stack.path(name), self.account.pw_uid, self.account.pw_gid)
        self.write_script()
        self.write_configuration()
        stack.port = self.port
        self.server = stack.start_process("apache", ["apache2", "-D", "FOREGROUND", "-f",
                                                     stack.path("apache.conf")])
        wait_until(stack.port_answers, "Apache answers")

    def write_script(self):
        """mod_fcgid takes no arguments but through this."""
        with open(self.stack.path("leeway"), "w", encoding="utf-8") as out:
            out.write(f'#!/bin/sh\nexec "{self.binary}" -c "{self.stack.config}" -n 0\n')
        os.chmod(self.stack.path("leeway"), 0o755)

    def write_configuration(self):
        self.port = free_port()
        modules = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n"
                          for name in ("mpm_event", "authz_core", "alias", "fcgid"))
        user = f"User {self.account.pw_name}\nGroup {self.account.pw_name}" if self.account else ""
        with open(self.stack.path("apache.conf"), "w", encoding="utf-8") as out:
            out.write(f"""
ServerRoot "{self.stack.folder}"
ServerName localhost
Listen 127.0.0.1:{self.port}
PidFile "{self.stack.path('apache.pid')}"
ErrorLog "{self.stack.path('apache-error.log')}"
DocumentRoot "{self.stack.folder}"
{modules}
{user}
FcgidIPCDir "{self.stack.path('fcgid')}"
FcgidProcessTableFile "{self.stack.path('fcgid/table')}"
FcgidMaxProcesses 4
FcgidIdleScanInterval 1
{self.settings}
AllowEncodedSlashes NoDecode
ScriptAlias /api "{self.stack.path('leeway')}"
<Location /api>
    SetHandler fcgid-script
    Options +ExecCGI
    Require all granted
</Location>
""")

    def log_text(self):
        """Apache's, and what the processes that it starts say."""
        with open(self.stack.path("apache-error.log"), encoding="utf-8") as text:
            return text.read()

    def processes(self):
        """Pids of the leeway-worker processes that it has started."""
        return [int(name) for name in os.listdir("/proc")
                if name.isdigit() and self.is_ours(name)]

    def is_ours(self, pid):
        try:
            return os.readlink(f"/proc/{pid}/exe") == self.binary
        except OSError:
            return False
