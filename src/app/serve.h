/* SPDX-License-Identifier: BSD-2-Clause */
/* The worker's use case: a request to its answer. */
#ifndef LEEWAY_APP_SERVE_H
#define LEEWAY_APP_SERVE_H

#include "app/backend.h"
#include "http/request.h"

struct server;

struct server *server_new(TALLOC_CTX *ctx, struct backend *backend);

/* Answers `request`, or parks it until its response has been found or computed. */
void serve_request(struct server *server, struct request *request);

/* The client of a parked request has left. */
void serve_gone(struct request *request);

/* The process stops: ready_path says so from now on. */
void server_drain(struct server *server);

/* Whether nothing that a stop has asked for is still on its way to Redis. */
bool server_is_drained(const struct server *server);

/* Answers all that still wait with 503. */
void server_abandon(struct server *server);

#endif
