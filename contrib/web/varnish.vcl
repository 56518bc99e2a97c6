# SPDX-License-Identifier: BSD-2-Clause
# Varnish (tested: 7.1) as a cache for leeway's contexts with `edge = true`, in front of a web
# server such as the one of nginx.conf. On Debian: /etc/varnish/default.vcl
#
# Varnish does most of it right by itself: it keeps a response for `max-age` and, while it fetches
# a new one, for `stale-while-revalidate` (its grace); it keeps nothing `private` or `no-store`;
# and it sends an `Age`, by which a browser knows how much of `max-age` is gone. What is left to
# do is about fractions of a second, without which a response could be seen a second too late.
#
# Here leeway answers below /api/, with `mount = "/api"` in leeway.conf. To give it the whole
# host, write / for /api/ all over this file and leave `mount` out.

vcl 4.1;

import std;

# the web server; nobody else should reach its port
backend default {
    .host = "127.0.0.1";
    .port = "8080";
    # longer than leeway's own timeouts, see nginx.conf
    .first_byte_timeout = 15s;
}

acl inside {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    # Of an absolute target Varnish takes only "http://HOST" off.
    if (req.url !~ "^/") {
        return (synth(400));
    }
    # To the web server and leeway everybody is Varnish, 127.0.0.1: the metrics must be closed here.
    # Varnish compares the path as it is written; so does leeway, which knows them by this one only.
    if (req.url ~ "^/api/metrics($|\?)" && client.ip !~ inside) {
        return (synth(403));
    }
    # What a client accepts is one of two things to leeway: gzip, or not. Varnish itself says so to it;
    # with http_gzip_support switched off it would keep a response for each spelling instead (Vary).
    # Who refuses what is not compressed, which is rare, then gets leeway's own answer, out of no cache.
    if (req.http.Accept-Encoding ~ "(?i)(^|[, \t])(identity|\*)\s*;\s*q=0(\.0*)?\s*(,|$)") {
        return (pass);
    }
    if (req.http.Accept-Encoding ~ "(?i)(^|[, \t])(x-)?gzip\s*(,|$|;\s*q=(1|0\.[0-9]*[1-9]))") {
        set req.http.Accept-Encoding = "gzip";
    } else {
        unset req.http.Accept-Encoding;
    }
    # Requests with a cookie are passed on and not cached. If cookies mean nothing to the API:
    #unset req.http.Cookie;
}

sub vcl_backend_response {
    # A refresh that fails must not take the place of a response that is still good.
    if (bereq.is_bgfetch && beresp.status >= 500) {
        return (abandon);
    }
    # No grace but what leeway allows (Varnish's own is 10 s), and nothing kept beyond it.
    set beresp.grace = std.duration(regsub(beresp.http.Cache-Control,
        "^.*stale-while-revalidate=([0-9]+).*$", "\1s"), 0s);
    set beresp.keep = 0s;
    # What leeway has not compressed, short bodies and contexts with `compress = none`, Varnish
    # compresses once for as long as it keeps it. Bodies below 256 bytes would become longer:
    #if (std.integer(beresp.http.Content-Length, 256) >= 256) { set beresp.do_gzip = true; }
    # Varnish counts from when the response arrives: half a second for the way here.
    if (beresp.grace >= 1s) {
        set beresp.grace = beresp.grace - 0.5s;
    } else {
        set beresp.ttl = beresp.ttl - 0.5s;
    }
}

sub vcl_deliver {
    # Of what Varnish decompresses for a client and does not keep, HEAD would say the compressed length.
    if (req.method == "HEAD" && resp.http.Content-Encoding == "gzip" && !req.http.Accept-Encoding) {
        unset resp.http.Content-Length;
    }
    # Varnish rounds Age down, which would give a browser up to one second too much: round up,
    # and add the half second.
    if (obj.hits > 0) {
        set resp.http.Age = std.integer(duration = obj.age + 1.5s);
        set resp.http.Cache-Status = resp.http.Cache-Status + ", varnish; hit";
    }
}
