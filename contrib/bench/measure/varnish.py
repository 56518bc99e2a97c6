# SPDX-License-Identifier: BSD-2-Clause
"""Varnish in front of a port of this machine."""
import os

from harness.network import free_port
from harness.wait import wait_until

VCL = """vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{port}"; .first_byte_timeout = 30s; }}
sub vcl_backend_response {{
  set beresp.keep = 0s;
  {lifetimes}
  unset beresp.http.Cache-Control;
  unset beresp.http.Cache-Status;
  return (deliver);
}}
sub vcl_deliver {{
  set resp.http.X-Cache = "miss";
  if (obj.hits > 0) {{ set resp.http.X-Cache = "hit"; }}
  if (obj.hits > 0 && obj.ttl < 0s) {{ set resp.http.X-Cache = "stale"; }}
}}
"""
LIFETIME = """if (bereq.url ~ "^{prefix}") {{
    set beresp.ttl = {ttl_s:.1f}s;
    set beresp.grace = {grace_s:.1f}s;
  }}
  """


class Varnish:
    """Keeps everything; `lifetimes` by the path's beginning: seconds, and seconds more in which it
    is served while it is fetched anew."""

    def __init__(self, world, port, lifetimes, name="varnish"):
        self.port = free_port()
        folder = world.stack.path(name)
        os.mkdir(folder)
        conf = os.path.join(folder, "default.vcl")
        text = "".join(LIFETIME.format(prefix=prefix, ttl_s=ttl_s, grace_s=grace_s)
                       for prefix, (ttl_s, grace_s) in lifetimes.items())
        with open(conf, "w", encoding="utf-8") as out:
            out.write(VCL.format(port=port, lifetimes=text))
        self.process = world.stack.start_process(name, [
            "varnishd", "-F", "-j", "none", "-n", folder, "-s", "malloc,256m",
            "-a", f"127.0.0.1:{self.port}", "-f", conf])
        world.stack.port = self.port
        wait_until(lambda: world.stack.port_answers() or not self.process.is_running(),
                   "Varnish answers")
        assert self.process.is_running(), self.process.log_text()
