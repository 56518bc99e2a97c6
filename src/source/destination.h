/* SPDX-License-Identifier: BSD-2-Clause */
/* What libpq would connect to. */
#ifndef LEEWAY_SOURCE_DESTINATION_H
#define LEEWAY_SOURCE_DESTINATION_H

#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

struct destination {
    const char *hosts; /* "db1.example:5432,/run/postgresql:5433@MACHINE": see below */
    const char *database;
    const char *user;
    const char *options; /* for the server's command line; "": none */
};

enum { DESTINATION_HEX = 16 };

/* Resolves `conninfo` as a connection would: services, the environment, and the defaults are filled
   in by libpq itself. Nothing is connected to, and no host is looked up by name.

   `hosts` are sorted pairs of host and port, for a list in another order is the same place. A host
   is what is connected to: its hostaddr if it has one. A socket's directory and a loopback address
   mean something on this machine only, which `machine` names, and so carry it; "localhost",
   "127.0.0.1" and "::1" are all "localhost".

   0, or -1 and a sentence in `error`, which quotes nothing from `conninfo` that could be a
   password. What is found is a child of `ctx`. Changes no environment; not for use beside other
   threads that do. */
int destination_resolve(TALLOC_CTX *ctx, const char *conninfo, const char *machine,
                        struct destination *found, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* One of the hosts that libpq would try, in its order; "": nothing is given. */
struct destination_host {
    const char *name;    /* or a socket's directory, or an address */
    const char *address; /* its hostaddr */
    const char *port;
};

/* Likewise resolved. How many, at least 1, and *hosts, a child of `ctx`; 0: libpq refuses
   `conninfo`. */
size_t destination_hosts(TALLOC_CTX *ctx, const char *conninfo,
                         const struct destination_host **hosts);

/* Whether `conninfo` leads to a value of that keyword of libpq, by itself or by a service; false
   also where it is malformed. */
bool destination_sets(const char *conninfo, const char *keyword);

/* Whether a connection to it begins with looking a name up. Looks nothing up. */
bool destination_is_by_name(const struct destination_host *host);

/* What `conninfo` itself has of that which chooses a database, as it is written: another password
   or time limit gives the same. Resolves nothing. A child of `ctx`. */
char *destination_as_written(TALLOC_CTX *ctx, const char *conninfo);

/* Whether `conninfo` itself names the user, and no environment decides. */
bool destination_names_user(const char *conninfo);

/* XXH3 over all of it in lower-case hexadecimal; `name`, if not "", stands in for the hosts. Pure.
   NUL-terminated. */
void destination_hash(const struct destination *destination, const char *name,
                      char out[DESTINATION_HEX + 1]);

#endif
