/* SPDX-License-Identifier: BSD-2-Clause */
/* The pool: its queue of queries (postgres_queue.c) and its sessions (postgres_sessions.c). */
#include "config.h"

#include "source/postgres_private.h"

#include "base/mem.h"
#include "source/cancel.h"

enum { REAP_S = 1 };

static int postgres_destroy(struct postgres *postgres)
{
    ev_timer_stop(postgres->loop, &postgres->pump);
    ev_timer_stop(postgres->loop, &postgres->reap);
    ev_timer_stop(postgres->loop, &postgres->retry);
    for (size_t i = 0; i < postgres->n_statements; i++)
        statement_use_plan(&postgres->statements[i], NULL);
    return 0;
}

struct postgres *postgres_new(TALLOC_CTX *ctx, struct ev_loop *loop, struct steps *steps,
                              const struct config *config, struct slots *slots,
                              const struct postgres_judge *judge)
{
    struct postgres *postgres = mem_check(talloc_zero(ctx, struct postgres));

    cancel_init();
    postgres->loop = loop;
    postgres->settings = &config->settings.postgres;
    postgres->slots = slots;
    postgres->bound.limit = (size_t)config->settings.max_response_bytes;
    TAILQ_INIT(&postgres->sessions);
    postgres->statements =
        mem_check(talloc_zero_array(postgres, struct statement, config->n_routes + 1));
    postgres->n_statements = config->n_routes;
    postgres->waiting = turns_new(postgres, config->n_routes);
    for (size_t i = 0; i < config->n_routes; i++) {
        postgres->statements[i].route = &config->routes[i];
        if (slots != NULL)
            slots_add_route(slots, config->routes[i].name, (size_t)config->routes[i].slots);
    }
    postgres->session_options = (struct session_options){
        .loop = loop,
        .steps = steps,
        .settings = postgres->settings,
        .slow_query_ms = config->settings.slow_query_ms,
        .n_statements = config->n_routes,
        .events = &postgres_session_events,
        .outage = &postgres->outage,
        .bound = &postgres->bound,
        .work = &postgres->work,
        .memory = &postgres->memory,
        .pool = postgres,
    };
    if (judge != NULL)
        postgres->session_options.judge = *judge;
    ev_init(&postgres->pump, postgres_on_pump);
    ev_timer_init(&postgres->reap, postgres_on_reap, REAP_S, REAP_S);
    ev_init(&postgres->retry, postgres_on_retry);
    postgres->pump.data = postgres->reap.data = postgres->retry.data = postgres;
    ev_timer_start(loop, &postgres->reap);
    talloc_set_destructor(postgres, postgres_destroy);
    return postgres;
}

void postgres_on_work(struct postgres *postgres, void (*fn)(void *data, const struct route *route),
                      void *data)
{
    postgres->work = (struct json_work){.fn = fn, .data = data};
}
