# SPDX-License-Identifier: BSD-2-Clause
"""Real web servers, each driven by its file in contrib/web as it is, but for what such a file
says must be changed: the folder of the mount, the socket, the port and the program."""
import base64
import os
import shutil
import signal

from .process import unprivileged_account
from .network import free_port
from .stack import FINDINGS, program
from .wait import wait_until

WEB = os.path.join(os.path.dirname(__file__), "..", "..", "..", "contrib", "web")
MODULES = "/usr/lib/apache2/modules"
SOCKET = "/run/leeway/leeway.sock"
BINARY = "/usr/sbin/leeway-worker"
CONFIGURATION = "/etc/leeway/leeway.conf"
# Who may log in: the password, and its hash as SHA-256 and as bcrypt, the cheapest of their kinds.
USERS = {
    "alice": ("wonder land",
              "$5$rounds=1000$leeway$3a8v78mKN8h3ActY3gPaqVa4KgROVYTIARhzSzdjmW7",
              "$2a$04$llllllllllllllllllllle8u9r/6c6HNIx3qefAJqkQWPVgObeYw6"),
    "bob": ("builder",
            "$5$rounds=1000$leeway$O/hp0/IdcNb8YoIMgfovMLXfeYCvnNGoTgO4YFfGMw5",
            "$2a$04$llllllllllllllllllllle5m1qteFlok1zT3/Fwfb7zSpf8SX5GZO"),
}


def replace_all(text, changes):
    for old, new in changes.items():
        assert old in text, f"{old} is not in the file"
        text = text.replace(old, new)
    return text


def sample(name, changes, mount="/api"):
    """The text of a file in contrib/web for this machine, mounted at "/api" or "/"."""
    with open(os.path.join(WEB, name), encoding="utf-8") as file:
        text = file.read()
    if mount == "/":
        changes = {"/api/": "/", **changes}
    return replace_all(text, changes)


class Server:
    """What the servers have in common. `starts_leeway`: it needs no worker beside it; `kept`:
    whether connections to leeway stay open, for which `has_choice`; `changes`: further ones of
    the file; `login`: the file of passwords that it names; `compression`: lines that switch the
    server's own on, which stand in the file as comments."""

    starts_leeway = False
    has_choice = False
    login = None
    compression = ()

    def __init__(self, stack, mount="/", kept=True, changes=None):
        self.stack = stack
        self.mount = mount
        self.kept = kept
        self.changes = changes or {}
        self.port = free_port()
        self.let_others_in()
        stack.port = self.port
        self.process = self.start()
        wait_until(lambda: stack.port_answers() or not self.process.is_running(),
                   "the web server answers")
        assert self.process.is_running(), self.log_text()

    @classmethod
    def compressing(cls):
        """The changes that switch compression on."""
        return {"#" + line: line for line in cls.compression}

    def let_others_in(self):
        """For servers whose processes give up being root."""
        os.chmod(self.stack.folder, 0o755)

    def start(self):
        raise NotImplementedError

    def text(self, name, changes):
        if self.login:
            changes = {**changes, self.login: self.write("users", self.users())}
        return sample(name, {**changes, **self.changes}, self.mount)

    def users(self):
        """As htpasswd(1) writes them."""
        return "".join(f"{name}:{sha}\n" for name, (_, sha, _) in USERS.items())

    def write(self, name, text):
        path = self.stack.path(name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def run(self, *argv, **options):
        return self.stack.start_process(type(self).__name__.lower(), argv, **options)

    def log_text(self):
        return self.process.log_text()

    def stop(self):
        self.process.stop(signal.SIGTERM)
        assert not FINDINGS.search(self.log_text())


class Nginx(Server):
    has_choice = True
    sample = "nginx.conf"
    login = "/etc/nginx/leeway.htpasswd"
    compression = ("gzip on;", "gzip_min_length", "gzip_types", "gzip_proxied", "gzip_vary")

    def start(self):
        changes = {SOCKET: self.stack.socket, "*:8080": f"127.0.0.1:{self.port}"}
        if not self.kept:
            changes |= {"fastcgi_keep_conn on;": "fastcgi_keep_conn off;",
                        "    keepalive 16;\n": ""}
        self.write("sample.conf", self.text(self.sample, changes))
        return self.run("nginx", "-e", "stderr", "-c", self.write("nginx.conf", self.around()))

    def around(self):
        folders = "".join(f"{kind}_temp_path {self.stack.path('nginx-' + kind)};\n"
                          for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid {self.stack.path("nginx.pid")};
error_log stderr;
events {{ }}
http {{
access_log off;
{folders}
include {self.stack.path("sample.conf")};
}}
"""


class Lighttpd(Server):
    sample = "lighttpd-socket.conf"
    login = "/etc/lighttpd/leeway.htpasswd"
    compression = ('server.modules += ( "mod_deflate"', "deflate.mimetypes",
                   "deflate.allowed-encodings", '$REQUEST_HEADER["Accept-Encoding"]')

    def file_changes(self):
        return {SOCKET: self.stack.socket}

    def start(self):
        text = f"""
server.document-root = "{self.stack.folder}"
server.bind = "127.0.0.1"
server.port = {self.port}
server.modules = ()
{self.text(self.sample, self.file_changes())}"""
        return self.run("lighttpd", "-D", "-f", self.write("lighttpd.conf", text))


class LighttpdBinPath(Lighttpd):
    sample = "lighttpd-bin-path.conf"
    starts_leeway = True

    def file_changes(self):
        return {SOCKET: self.stack.socket, BINARY: program("leeway-worker"),
                CONFIGURATION: self.stack.config}


class Apache(Server):
    modules = ("mpm_event", "authz_core", "authz_host", "authz_user", "authn_core", "authn_file",
               "auth_basic", "headers", "env", "dir", "alias", "filter", "setenvif", "deflate", "brotli")
    login = "/etc/apache2/leeway.htpasswd"
    compression = ("AddOutputFilterByType", "SetEnvIf ")

    def start(self):
        os.mkdir(self.stack.path("www"))
        self.account = unprivileged_account()
        text = self.text(self.sample, {"*:8080": f"127.0.0.1:{self.port}", **self.file_changes()})
        return self.run("apache2", "-D", "FOREGROUND", "-f",
                        self.write("apache.conf", self.around() + text))

    def around(self):
        modules = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n"
                          for name in self.modules)
        user = f"User {self.account.pw_name}\nGroup {self.account.pw_name}" if self.account else ""
        return f"""
ServerRoot "{self.stack.folder}"
ServerName localhost
Listen 127.0.0.1:{self.port}
PidFile "{self.stack.path('apache.pid')}"
ErrorLog "{self.stack.path('apache-error.log')}"
DocumentRoot "{self.stack.path('www')}"
{modules}
{user}
<Directory "/">
    AllowOverride None
    Require all denied
</Directory>
<Directory "{self.stack.path('www')}">
    Require all granted
</Directory>
"""

    def log_text(self):
        with open(self.stack.path("apache-error.log"), encoding="utf-8") as text:
            return self.process.log_text() + text.read()


class ApacheProxy(Apache):
    has_choice = True
    sample = "apache-proxy_fcgi.conf"
    modules = Apache.modules + ("proxy", "proxy_fcgi")

    def file_changes(self):
        changes = {SOCKET: self.stack.socket}
        if self.kept:
            changes["enablereuse=off"] = "enablereuse=on"
        return changes


class ApacheFcgid(Apache):
    """mod_fcgid starts leeway-worker by itself and gives each process a socket as descriptor 0.
    What it starts runs as another user if we are root, and has to get at all of this."""

    sample = "apache-fcgid.conf"
    starts_leeway = True
    modules = Apache.modules + ("fcgid",)

    def let_others_in(self):
        super().let_others_in()
        os.chmod(self.stack.redis.socket, 0o777)
        self.binary = shutil.copy(program("leeway-worker"), self.stack.path("leeway-worker"))
        account = unprivileged_account()
        for name in ("run", "fcgid"):
            os.mkdir(self.stack.path(name))
            if account:
                os.chown(self.stack.path(name), account.pw_uid, account.pw_gid)

    def file_changes(self):
        return {BINARY: self.binary, CONFIGURATION: self.stack.config}

    def around(self):
        return super().around() + f"""
FcgidIPCDir "{self.stack.path('fcgid')}"
FcgidProcessTableFile "{self.stack.path('fcgid/table')}"
FcgidIdleScanInterval 1
"""

    def processes(self):
        """Pids of the leeway-worker processes that it has started."""
        return [int(name) for name in os.listdir("/proc")
                if name.isdigit() and self.is_ours(name)]

    def is_ours(self, pid):
        try:
            return os.readlink(f"/proc/{pid}/exe") == self.binary
        except OSError:
            return False


class Haproxy(Server):
    has_choice = True
    sample = "haproxy.cfg"
    compression = ("compression algo", "compression type")

    def start(self):
        changes = {SOCKET: self.stack.socket, "*:8080": f"127.0.0.1:{self.port}"}
        if not self.kept:
            changes["\n    option keep-conn"] = "\n    no option keep-conn"
        changes["\nuserlist leeway_users\n"] = "\nuserlist leeway_users\n" + self.users()
        return self.run("haproxy", "-db", "-f",
                        self.write("haproxy.cfg", self.text(self.sample, changes)))


    def users(self):
        return "".join(f"    user {name} password {sha}\n" for name, (_, sha, _) in USERS.items())


class Caddy(Server):
    sample = "Caddyfile"
    compression = ("@get ", "encode ")
    login = "/etc/caddy/leeway.users"

    def users(self):
        return "".join(f"{name} {base64.b64encode(bcrypt.encode()).decode()}\n"
                       for name, (_, _, bcrypt) in USERS.items())

    def start(self):
        text = self.text(self.sample, {SOCKET: self.stack.socket,
                                       "http://:8080": f"http://:{self.port}"})
        around = "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}\n"
        self.stack.environment = {**(self.stack.environment or os.environ),
                                  "HOME": self.stack.folder, "XDG_DATA_HOME": self.stack.folder}
        return self.run("caddy", "run", "--adapter", "caddyfile", "--config",
                        self.write("Caddyfile", around + text))


SERVERS = {
    "nginx": Nginx,
    "lighttpd (socket)": Lighttpd,
    "lighttpd (bin-path)": LighttpdBinPath,
    "Apache mod_proxy_fcgi": ApacheProxy,
    "Apache mod_fcgid": ApacheFcgid,
    "HAProxy": Haproxy,
    "Caddy": Caddy,
}
