/* SPDX-License-Identifier: BSD-2-Clause */
/* How many connections a worker may hold by its limit of descriptors. */
#ifndef LEEWAY_APP_CAPACITY_H
#define LEEWAY_APP_CAPACITY_H

#include <stddef.h>
#include <stdint.h>

#include "config/settings.h"

/* Connections of web servers that settings allow. */
int64_t capacity_wanted(const struct settings *settings);

/* What a worker needs for itself: Redis, as many sessions of Postgres as there are slots, files. */
int64_t capacity_own(const struct settings *settings);

/* How many it can have of those that it wants, where a process may have so many descriptors; 0:
   none is left. Pure. */
int64_t capacity_of(const struct settings *settings, int64_t descriptors);

/* The same for this process, whose limit is raised as far as it may be and needs to be. Fewer than
   are wanted are logged if `speaks`, none always. */
int64_t capacity_claim(const struct settings *settings, bool speaks);

#endif
