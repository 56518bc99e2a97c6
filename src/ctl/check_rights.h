/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of leewayctl check that is about rights in Redis. */
#ifndef LEEWAY_CTL_CHECK_RIGHTS_H
#define LEEWAY_CTL_CHECK_RIGHTS_H

#include "cache/cache.h"
#include "config/settings.h"
#include "ctl/json.h"

struct check_rights;

/* Tries what `roles` (cache/rights.h) need. `cache` is up. */
struct check_rights *check_rights_try(TALLOC_CTX *ctx, struct cache *cache,
                                      const struct redis_settings *settings, unsigned roles);

enum check_rights_level { CHECK_RIGHTS_OK, CHECK_RIGHTS_WARNING, CHECK_RIGHTS_PROBLEM };

/* Calls `found` for each right that is missing, and if there is none once. */
void check_rights_report(const struct check_rights *checked,
                         void (*found)(void *data, enum check_rights_level level, const char *text),
                         void *data);

/* All of them, as an array. */
void check_rights_print(const struct check_rights *checked, struct json_out *json, const char *key);

#endif
