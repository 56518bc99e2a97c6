/* SPDX-License-Identifier: BSD-2-Clause */
/* The answer to a load balancer: whether this process may be sent requests. */
#ifndef LEEWAY_APP_READY_H
#define LEEWAY_APP_READY_H

#include "app/backend.h"
#include "http/request.h"

/* To be called once a second: looks at what takes a while to be so, and tells the peers. */
void ready_tick(struct backend *backend);

/* {"status":"ready"} with 200, or with 503 {"status":"unready","reasons":[CODE, ...]}: "identity"
   where the database is not verified, "draining" where the process stops, and "postgres", "redis"
   or "refresher" where that is this host's own trouble: peers are known that are without it. What
   all share takes nobody out. `detailed`: with an array "details" of a sentence for each. The
   request is gone afterwards. */
void ready_answer(struct request *request, const struct backend *backend, bool detailed);

/* The answer to a health check, whether the process can serve anything: {"status":"ok"} with 200
   while it reaches Redis, for hits, or Postgres, for the rest; or with 503 {"status":"down"} and
   both as reasons. */
void ready_answer_health(struct request *request, const struct backend *backend, bool detailed);

#endif
