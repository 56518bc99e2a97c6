# SPDX-License-Identifier: BSD-2-Clause
"""One web server of each kind, with a port for each backend behind it."""
import os

from harness.process import unprivileged_account
from harness.network import free_port
from harness.wait import wait_until

APACHE_MODULES = "/usr/lib/apache2/modules"


class Front:
    """`ports` by the backend's name."""

    def __init__(self, world, backends):
        self.world = world
        self.backends = backends
        self.ports = {backend.name: free_port() for backend in backends}
        self.process = self.start()
        world.stack.port = next(iter(self.ports.values()))
        wait_until(lambda: world.stack.port_answers() or not self.process.is_running(),
                   f"{self.name} answers")
        assert self.process.is_running(), self.process.log_text()

    def path(self, name):
        return self.world.stack.path(f"{self.file_name}-{name}")

    @property
    def file_name(self):
        return self.name.replace(", ", "-").replace(" ", "-")

    def write(self, text):
        with open(self.path("conf"), "w", encoding="utf-8") as out:
            out.write(text)
        return self.path("conf")

    def run(self, *argv):
        return self.world.stack.start_process(self.file_name, argv)


class Nginx(Front):
    name = "nginx"
    keepalive = 0      # connections kept to each backend
    http = ""          # further lines of http {}
    location = ""      # and of each location
    locations = ("/",)

    def location_block(self, prefix, port):
        return f"""
  location {prefix} {{
    include /etc/nginx/fastcgi_params;
    fastcgi_pass u{port};
    fastcgi_buffers 16 64k;
    fastcgi_busy_buffers_size 128k;
    {"fastcgi_keep_conn on;" if self.keepalive else ""}
    {self.settings_of(prefix)}
  }}"""

    def settings_of(self, _prefix):
        return self.location

    def block(self, backend):
        port = self.ports[backend.name]
        kept = f"keepalive {self.keepalive};" if self.keepalive else ""
        return f"""
upstream u{port} {{ server unix:{backend.socket}; {kept} }}
server {{
  listen 127.0.0.1:{port} backlog=1024;
  {"".join(self.location_block(prefix, port) for prefix in self.locations)}
}}"""

    def start(self):
        temporary = "".join(f"{kind}_temp_path {self.path(kind)};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = self.write(f"""
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid {self.path("pid")};
error_log stderr;
events {{ worker_connections 2048; }}
http {{
access_log off;
keepalive_requests 1000000000;
{temporary}
{self.http}
{"".join(self.block(backend) for backend in self.backends)}
}}
""")
        return self.run("nginx", "-e", "stderr", "-c", conf)


class NginxKept(Nginx):
    name = "nginx, kept"
    keepalive = 64  # as many as clients: else some connections are closed after each request


class NginxCache(Nginx):
    """Its own cache, which keeps everything: not leeway's promise, but its cost."""

    name = "nginx cache"
    keepalive = 32
    location = """fastcgi_cache bench;
    fastcgi_cache_key $request_uri;
    fastcgi_ignore_headers Cache-Control Expires;
    fastcgi_cache_valid 200 1h;"""

    @property
    def http(self):
        return (f"fastcgi_cache_path {self.path('cache')} levels=1:2 keys_zone=bench:50m "
                "use_temp_path=off;")


class Lighttpd(Front):
    name = "lighttpd"

    def start(self):
        servers = "".join(f"""
$SERVER["socket"] == "127.0.0.1:{self.ports[backend.name]}" {{
  fastcgi.server = ("/" => (("socket" => "{backend.socket}", "check-local" => "disable",
                             "fix-root-scriptname" => "enable")))
}}""" for backend in self.backends)
        return self.run("lighttpd", "-D", "-f", self.write(f"""
server.document-root = "{self.world.folder}"
server.bind = "127.0.0.1"
server.port = {free_port()}
server.modules = ("mod_fastcgi")
server.max-keep-alive-requests = 65535
server.stream-response-body = 2
{servers}
"""))


class Apache(Front):
    name = "Apache"

    def start(self):
        account = unprivileged_account()
        modules = "".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n"
                          for name in ("mpm_event", "authz_core", "proxy", "proxy_fcgi"))
        user = f"User {account.pw_name}\nGroup {account.pw_name}\n" if account else ""
        hosts = "".join(f"""
Listen 127.0.0.1:{self.ports[backend.name]}
<VirtualHost 127.0.0.1:{self.ports[backend.name]}>
  ProxyPass "/" "unix:{backend.socket}|fcgi://{self.ports[backend.name]}.localhost/"
</VirtualHost>""" for backend in self.backends)
        return self.run("apache2", "-D", "FOREGROUND", "-f", self.write(f"""
{modules}
ServerRoot "{self.world.folder}"
ServerName localhost
PidFile "{self.path("pid")}"
ErrorLog "{self.path("error.log")}"
{user}
StartServers 2
ServerLimit 2
ThreadLimit 128
ThreadsPerChild 128
MaxRequestWorkers 256
# else it ends a child that has nothing to do, and with it the connections of clients
MaxSpareThreads 256
MaxKeepAliveRequests 0
{hosts}
"""))


FRONTS = [Nginx, NginxKept, Lighttpd, Apache]
