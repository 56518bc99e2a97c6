/* SPDX-License-Identifier: BSD-2-Clause */
/* What a worker waits for: the fill of one key, led here or by another process, and the
   requests that wait for it. One per key and worker; requests for contexts without a
   budget fly alone. */
#ifndef LEEWAY_APP_FLIGHT_H
#define LEEWAY_APP_FLIGHT_H

#include "app/visit.h"

struct flights;

struct flights *flights_new(TALLOC_CTX *ctx, struct backend *backend);

/* Parks `visit` until its key is filled, and sees to it that it gets filled; answers at once
   if max_waiting requests wait, or so many flights are there already. `shared` false: a query of
   its own, never leased or stored. */
void flights_join(struct flights *flights, struct visit *visit, bool shared);

/* The client has left: the visit is forgotten. With the last one of a flight, its query is too
   unless it has begun and its result is to be stored. */
void flights_leave(struct visit *visit);

/* Answers all that still wait with 503. */
void flights_abandon(struct flights *flights);

size_t flights_waiting(const struct flights *flights);

#endif
