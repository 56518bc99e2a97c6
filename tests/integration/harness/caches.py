# SPDX-License-Identifier: BSD-2-Clause
"""Shared caches in front of leeway, as contrib/web sets them up."""
import os

from .web_servers import Nginx, Server


class NginxCache(Nginx):
    has_choice = False
    sample = "nginx-cache.conf"
    login = None
    folder = "/var/cache/nginx/leeway"

    def text(self, name, changes):
        return super().text(name, {self.folder: self.stack.path("nginx-cache"), **changes})


class Varnish(Server):
    """In front of nginx, which it starts too."""

    compression = ("if (std.integer(beresp.http.Content-Length",)
    options = ()
    behind = {}  # changes of nginx's file

    def __init__(self, stack, mount="/", kept=True, changes=None):
        self.web_server = Nginx(stack, mount, kept, self.behind)
        super().__init__(stack, mount, kept, changes)

    def start(self):
        vcl = self.write("varnish.vcl", self.text("varnish.vcl", {
            '.port = "8080"': f'.port = "{self.web_server.port}"'}))
        os.mkdir(self.stack.path("varnish"))
        return self.run("varnishd", "-F", "-j", "none", "-n", self.stack.path("varnish"),
                        "-s", "malloc,64m", "-a", f"127.0.0.1:{self.port}", "-f", vcl,
                        *self.options)

    def stop(self):
        super().stop()
        self.web_server.stop()


class VarnishWithoutGzip(Varnish):
    options = ("-p", "http_gzip_support=off")


class VarnishBeforeCompressingNginx(Varnish):
    behind = Nginx.compressing()


CACHES = {"nginx": NginxCache, "Varnish": Varnish}
