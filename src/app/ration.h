/* SPDX-License-Identifier: BSD-2-Clause */
/* How many queries each client may start: a bucket of tokens for each, in memory that all workers
   of a runtime_dir share. Nothing is ever locked, so a worker that is killed leaves nothing behind
   that another waits for. The table is bounded: of clients that meet in one place the one that
   has used least of its bucket is forgotten, and so has it full again. */
#ifndef LEEWAY_APP_RATION_H
#define LEEWAY_APP_RATION_H

#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

#include "config/rate.h"

struct ration;

/* `rate` has a limit. NULL and a sentence in `error`: the file cannot be used. */
struct ration *ration_open(TALLOC_CTX *ctx, const char *runtime_dir, const struct rate *rate,
                           char *error, size_t error_size) __attribute__((warn_unused_result));

/* To be called about once a second: if the file was removed, makes it anew, with full buckets. */
void ration_tend(struct ration *ration);

/* Whether `client` may start a query at `now_us`, on the monotonic clock; if so, it is counted. An
   IPv6 address stands for its /64; what is no address is a client as it stands, and NULL, like "",
   is one too. */
bool ration_take(struct ration *ration, const char *client, int64_t now_us);

/* How long until it may, in microseconds, at least 1. */
int64_t ration_wait(struct ration *ration, const char *client, int64_t now_us);

/* Whether all that this process has counted or refused lately, a fair number, was one client's. */
bool ration_has_one_client(const struct ration *ration);

#endif
