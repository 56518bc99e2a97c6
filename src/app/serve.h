/* SPDX-License-Identifier: BSD-2-Clause */
/* The worker's use case: a request to its answer. */
#ifndef LEEWAY_APP_SERVE_H
#define LEEWAY_APP_SERVE_H

#include "app/backend.h"
#include "app/flight.h"
#include "http/request.h"

struct server;

struct server *server_new(TALLOC_CTX *ctx, struct backend *backend);

/* Answers `request`, or parks it: until the turn ends or LOOKUPS_MAX have come, when its response
   is looked up, and from then on until it has been computed. */
void serve_request(struct server *server, struct request *request);

/* Looks up what the requests since the last time ask for. */
void serve_turn_end(struct server *server);

/* The client of a parked request has left. */
void serve_gone(struct server *server, struct request *request);

/* The process stops: ready_path says so from now on. */
void server_drain(struct server *server);

struct flights *server_flights(struct server *server);

#endif
