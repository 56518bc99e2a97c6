/* SPDX-License-Identifier: BSD-2-Clause */
/* Whose keys a command is about: those of the daemons on this host, which may run as another user
   and in another environment than the tool; and what the server says of itself. */
#ifndef LEEWAY_CTL_KEYS_H
#define LEEWAY_CTL_KEYS_H

#include "app/identity_file.h"
#include "ctl/ctl.h"

struct ctl_keys {
    struct identity_record record;
    uint64_t generation;
    bool kept; /* a daemon of this host has verified it; else it is as this command would connect */
    /* CTL_OK; CTL_BAD: they may be others than the daemons' keys, or there are several and nothing
       else is set; CTL_UNREACHABLE: nothing is set, or Redis cannot say how often the database was
       accepted. Why has been said on standard error. */
    enum ctl_exit status;
};

/* Found when first asked for. */
const struct ctl_keys *ctl_keys(struct ctl *ctl);

/* The identity of the daemons of this host, without asking anybody: if several have run with this
   configuration, and none as this command would, it is as this command would connect. A child of
   `ctx`. */
char *ctl_kept_identity(TALLOC_CTX *ctx, struct ctl *ctl);

/* Whether `keys` has what a key is made of. */
bool ctl_keys_known(const struct ctl_keys *keys);

/* What the server says to a session of this command. Texts are children of `ctx`. */
struct ctl_place {
    struct identity_note seen;
    const char *user;
    const char *search_path;
};

/* Connects as the daemons do, as whoever runs the command. -1: it cannot be reached, or does not
   say; the log says why. */
int ctl_place(struct ctl *ctl, TALLOC_CTX *ctx, struct ctl_place *place)
    __attribute__((warn_unused_result));

/* Whether this command would connect to where the daemons do, as whatever user. */
bool ctl_goes_where(const struct ctl *ctl, const struct destination *daemons);

/* Whether a query of this host's daemons would reach Postgres. */
enum ctl_reach {
    CTL_REACHES,
    CTL_REACHES_NOT,
    CTL_REACH_UNKNOWN, /* this command does not, and the daemons connect as somebody else */
};

/* By what they say in their metrics, and by connecting as they do. */
enum ctl_reach ctl_reach_postgres(struct ctl *ctl);

#endif
