/* SPDX-License-Identifier: BSD-2-Clause */
/* What a URL on the command line means: route, parameters, key. */
#ifndef LEEWAY_CTL_TARGET_H
#define LEEWAY_CTL_TARGET_H

#include "app/resolve.h"
#include "ctl/ctl.h"

enum { TARGET_MAX_VARIABLES = 32 };

struct target {
    const char *variables[TARGET_MAX_VARIABLES]; /* NAME=VALUE, as from the web server */
    size_t n_variables;
    struct resolved resolved;
    const struct route_rules *rules; /* NULL: it is not a route's */
    const char *base; /* of the key; NULL: none, or the keys are not known (ctl_keys()) */
};

/* Takes the argument of -v. false: it is not NAME=VALUE, is given
   twice, or there are too many. */
bool target_add_variable(struct target *target, const char *variable);

/* What may be behind it where there is no such route: a sentence after a blank, or "". A child of
   `ctx`. */
const char *target_hint(const struct ctl *ctl, TALLOC_CTX *ctx, const char *url,
                        const struct target *target);

/* Everything made is a child of `ctx`. */
void target_resolve(struct ctl *ctl, TALLOC_CTX *ctx, const char *url, struct target *target);

#endif
