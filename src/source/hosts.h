/* SPDX-License-Identifier: BSD-2-Clause */
/* The addresses of the hosts that a connection string leads to. libpq looks names up where it
   stands; it is given addresses instead, and keeps the names for what they prove (TLS, passwords).
   Nothing here blocks. */
#ifndef LEEWAY_SOURCE_HOSTS_H
#define LEEWAY_SOURCE_HOSTS_H

#include <ev.h>
#include <stdint.h>
#include <talloc.h>

/* For libpq: lists separated by commas, of equal lengths. A host with several addresses is there
   for each of them, in the order in which they should be tried; sockets, and hosts whose address is
   written down, are as they were; one that could not be found is left out. */
struct hosts {
    char *names;     /* "host" */
    char *addresses; /* "hostaddr" */
    char *ports;     /* "port" */
};

/* Names that are being looked up; ended by talloc_free. */
struct hosts_look_up;

/* `hosts` NULL: none was found, and `problem` says why. Both are borrowed. */
typedef void hosts_fn(void *data, const struct hosts *hosts, const char *problem);

/* Looks up the names to which `conninfo` leads, by services, the environment and libpq's defaults
   as well, each for as long as `timeout_ms` or, where there are other hosts, half as long. NULL:
   there is nothing to look up, or libpq refuses `conninfo`. Else `fn` is called once, never from
   here; the look-up is gone then. */
struct hosts_look_up *hosts_look_up(TALLOC_CTX *ctx, struct ev_loop *loop, const char *conninfo,
                                    int64_t timeout_ms, hosts_fn *fn, void *data);

#endif
