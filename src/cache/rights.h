/* SPDX-License-Identifier: BSD-2-Clause */
/* What leeway needs to be allowed in Redis: one table, from which leewayctl check tries each row.
   contrib/redis/users.acl grants exactly these. Pure. */
#ifndef LEEWAY_CACHE_RIGHTS_H
#define LEEWAY_CACHE_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

#include "config/settings.h"

/* Roles, as bits. HELLO and AUTH need no right. */
enum {
    RIGHTS_WORKER = 1,
    RIGHTS_REFRESHER = 2,
    RIGHTS_OPERATOR = 4, /* leewayctl */
    RIGHTS_ALL = 7,
};

/* "worker", ...: one bit. */
const char *rights_role_name(unsigned role);

/* The bit of that name; 0: there is none. */
unsigned rights_role_named(const char *name);

/* How a server is asked whether a command is allowed, if it does not tell (ACL DRYRUN). */
enum rights_trial {
    RIGHTS_BY_SCRIPT,     /* inside a script that may not write */
    RIGHTS_DIRECTLY,      /* as it is: it changes nothing, and scripts may not call it */
    RIGHTS_BY_SUBSCRIBING /* only the client can */
};

struct right {
    unsigned roles;
    /* The command with arguments that Redis accepts, separated by blanks. An argument "%R~PLACE",
       "%W~PLACE" or "%RW~PLACE" is a key and the access to it that Redis wants for this command,
       "&PLACE" a channel, "$database" the number of the configured database. */
    const char *form;
    bool needed; /* to serve and to refresh; else something is done without it, or less well */
    const char *purpose; /* "to ..." */
    enum rights_trial trial;
};

/* The right of that number, from 0 up to the first NULL. */
const struct right *rights_get(size_t number);

/* Whether it matters with these settings. */
bool rights_matters(const struct right *right, const struct redis_settings *settings);

/* The command's parts, `*count` of them, with keys and channels as any of them is, or `of` is,
   which has to be a text without blanks: "*" makes patterns of them, anything else names. Children
   of `ctx`. */
const char **rights_parts(TALLOC_CTX *ctx, const struct right *right,
                          const struct redis_settings *settings, const char *of, size_t *count);

/* For an operator, a child of `ctx`: "GET of leeway:{*}:entry", "PUBLISH on leeway:{*}:done",
 * "TIME". */
char *rights_describe(TALLOC_CTX *ctx, const struct right *right,
                      const struct redis_settings *settings);

/* As ACL rules, separated by blanks, a child of `ctx`: "+get %R~leeway:{*}:entry". */
char *rights_rules(TALLOC_CTX *ctx, const struct right *right,
                   const struct redis_settings *settings);

#endif
