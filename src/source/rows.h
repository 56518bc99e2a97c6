/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of one query on their way to its JSON, by the plan that it was sent with. */
#ifndef LEEWAY_SOURCE_ROWS_H
#define LEEWAY_SOURCE_ROWS_H

#include <libpq-fe.h>

#include "source/json.h"
#include "source/plan.h"
#include "source/result_bound.h"

enum rows_status {
    ROWS_OK,
    ROWS_MORE,     /* a long row is not written to its end */
    ROWS_NONE,     /* shape object or value, and nothing was selected */
    ROWS_OUTDATED, /* the columns are not the plan's: nothing has been written */
    ROWS_BROKEN,   /* rows_problem() says why */
};

struct rows;

/* Both are borrowed. What has been written counts towards `bound` until the rows are freed. */
struct rows *rows_new(TALLOC_CTX *ctx, const struct plan *plan, struct result_bound *bound);

void rows_tell(struct rows *rows, const struct json_work *work);

/* Takes what one result has: any number of rows. ROWS_MORE: the result is borrowed until
   rows_go_on() has come to its end. After anything but these and ROWS_OK no more is taken. */
enum rows_status rows_take(struct rows *rows, const PGresult *result)
    __attribute__((warn_unused_result));

/* A further step, of ROWS_STEP_BYTES of the values at the most; likewise. */
enum rows_status rows_go_on(struct rows *rows) __attribute__((warn_unused_result));

enum { ROWS_STEP_BYTES = 32 * 1024 };

/* Bytes written so far. */
size_t rows_length(const struct rows *rows);

/* When the last one has come. On ROWS_OK *json is one whole JSON value, whose chunk belongs to the
   rows. */
enum rows_status rows_finish(struct rows *rows, struct json_text *json)
    __attribute__((warn_unused_result));

/* How much of the bound they hold. */
size_t rows_held(const struct rows *rows);

/* A sentence, without values; static. */
const char *rows_problem(const struct rows *rows);

#endif
