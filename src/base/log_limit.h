/* SPDX-License-Identifier: BSD-2-Clause */
/* How many log lines of a kind are let through: a burst of 10, then one a second. Knows neither the
   clock nor the log. */
#ifndef LEEWAY_BASE_LOG_LIMIT_H
#define LEEWAY_BASE_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

enum {
    LOG_LIMIT_BURST = 10,
    LOG_LIMIT_INTERVAL_US = 1000 * 1000,
    /* Kinds that are told apart; further ones share one limit. One of which no line was written
       for as long as its burst takes makes room for another. */
    LOG_LIMIT_KINDS = 256,
};

/* Lines of one kind have the same message and the same subject: a field's key and text. */
struct log_kind {
    int level;
    const char *message; /* static */
    const char *key;     /* static */
    const char *text;
    uint64_t variant; /* further told apart by this number */
};

struct log_limit;

struct log_limit *log_limit_new(TALLOC_CTX *ctx);

/* Whether a line of `kind` may be written at `now_us`, which must not go back. If so, *suppressed
   is how many of its kind were left out since the last one was written, or told of. */
bool log_limit_allows(struct log_limit *limit, const struct log_kind *kind, int64_t now_us,
                      int64_t *suppressed);

/* For a kind whose lines have stopped coming: 1, and *kind and *suppressed are those of one of
   which lines were left out and another could be written at `now_us`; they now count as told of.
   0: there is none. The texts are valid until the next call; `message` is NULL for the kinds that
   share a limit. */
int log_limit_take_suppressed(struct log_limit *limit, int64_t now_us, struct log_kind *kind,
                              int64_t *suppressed);

#endif
