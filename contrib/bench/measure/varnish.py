# SPDX-License-Identifier: BSD-2-Clause
"""Varnish in front of a port of this machine."""
import os

from harness.stack import free_port
from harness.wait import wait_until

VCL = """vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{port}"; .first_byte_timeout = 30s; }}
sub vcl_backend_response {{
  set beresp.ttl = {ttl_s}s;
  set beresp.grace = {grace_s}s;
  set beresp.keep = 0s;
  unset beresp.http.Cache-Control;
  return (deliver);
}}
"""


class Varnish:
    """Keeps everything for `ttl_s`, and for `grace_s` more while it fetches it anew."""

    def __init__(self, world, port, ttl_s, grace_s=0, name="varnish"):
        self.port = free_port()
        folder = world.stack.path(name)
        os.mkdir(folder)
        conf = os.path.join(folder, "default.vcl")
        with open(conf, "w", encoding="utf-8") as out:
            out.write(VCL.format(port=port, ttl_s=ttl_s, grace_s=grace_s))
        self.process = world.stack.start_process(name, [
            "varnishd", "-F", "-j", "none", "-n", folder, "-s", "malloc,256m",
            "-a", f"127.0.0.1:{self.port}", "-f", conf])
        world.stack.port = self.port
        wait_until(lambda: world.stack.port_answers() or not self.process.is_running(),
                   "Varnish answers")
        assert self.process.is_running(), self.process.log_text()
