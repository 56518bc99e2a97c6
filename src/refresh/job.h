/* SPDX-License-Identifier: BSD-2-Clause */
/* A refresh job on the wire (docs/redis.md): a JSON array of the version, the time it
   was queued (ms, Redis's clock), the route's name, its fingerprint and the
   canonical parameters; never SQL. */
#ifndef LEEWAY_REFRESH_JOB_H
#define LEEWAY_REFRESH_JOB_H

#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#include "route/param.h"

enum { JOB_VERSION = 1, JOB_MAX_BYTES = 65536 };

struct job {
    int64_t queued_ms;
    const char *route;
    const char *fingerprint;
    struct param_values values;
};

/* A child of `ctx`; NULL if it would be longer than JOB_MAX_BYTES, which no
   refresher reads. All texts are UTF-8. */
char *job_encode(TALLOC_CTX *ctx, const struct job *job, size_t *len);

/* 0, or -1: not a job of this version, longer than JOB_MAX_BYTES, or with a text that is
   not UTF-8 or holds a NUL. Strings are children of `ctx`. */
int job_decode(TALLOC_CTX *ctx, const char *bytes, size_t len, struct job *job)
    __attribute__((warn_unused_result));

#endif
