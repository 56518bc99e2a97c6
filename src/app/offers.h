/* SPDX-License-Identifier: BSD-2-Clause */
/* Refreshes that a worker asks for behind its clients' backs: once for a key however many stale
   hits, and where there are many at once, some of them later. */
#ifndef LEEWAY_APP_OFFERS_H
#define LEEWAY_APP_OFFERS_H

#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

#include "app/visit.h"

enum {
    OFFERS_AT_ONCE = 100,   /* so many in a second; further ones are spread (refresh/spread.h) */
    OFFERS_PENDING = 10000, /* so many wait for their time at the most; further ones do not wait */
};

struct offers;

/* Freed with `ctx`; what waits then is not offered. */
struct offers *offers_new(TALLOC_CTX *ctx, struct backend *backend);

/* For a stale hit: asked for in this turn of the loop, or at its time. `snapshot_us` and `ttl_us`
   are the entry's. */
void offers_ask(struct offers *offers, const struct visit *visit, int64_t snapshot_us,
                int64_t ttl_us);

/* The worker is to stop: what waits is offered now, and nothing waits any more. */
void offers_drain(struct offers *offers);

/* Whether all that was offered is answered. */
bool offers_are_out(const struct offers *offers);

#endif
