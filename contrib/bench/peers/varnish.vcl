# SPDX-License-Identifier: BSD-2-Clause
# Varnish over an origin that does not compress. Lifetimes are the origin's (Cache-Control), and so
# is all else that the built-in VCL does. Varnish asks for gzip itself whatever the client accepts,
# stores one form and inflates it for who does not.

vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "@origin@";
}

sub vcl_backend_response {
    if (@do_gzip@ && beresp.http.Content-Type ~ "json") {
        set beresp.do_gzip = true;
    }
}
