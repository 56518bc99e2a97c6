/* SPDX-License-Identifier: BSD-2-Clause */
/* Cells from libpq's results to the JSON writer. */
#include "config.h"

#include "source/rows.h"

#include "base/mem.h"

struct rows {
    const struct plan *plan;
    struct json_writer *writer;
    struct json_cell *cells;
    struct result_share share;
    bool checked; /* the columns of what arrives are the plan's */
    enum rows_status status;
    const char *problem;
};

static int rows_destroy(struct rows *rows)
{
    result_share_release(&rows->share);
    return 0;
}

struct rows *rows_new(TALLOC_CTX *ctx, const struct plan *plan, struct result_bound *bound)
{
    struct rows *rows = mem_check(talloc_zero(ctx, struct rows));

    rows->plan = plan;
    rows->share.bound = bound;
    talloc_set_destructor(rows, rows_destroy);
    rows->cells = mem_check(talloc_zero_array(rows, struct json_cell, (unsigned)plan->n_columns));
    rows->writer =
        json_writer_new(rows, plan->route->shape, plan->kind == PLAN_RENDERED, bound->limit);
    return rows;
}

void rows_tell(struct rows *rows, const struct json_work *work)
{
    json_writer_tell(rows->writer, work);
}

size_t rows_held(const struct rows *rows)
{
    return rows->share.bytes;
}

const char *rows_problem(const struct rows *rows)
{
    return rows->problem;
}

static enum rows_status take_status(struct rows *rows, enum json_status status)
{
    static const char *const problems[] = {
        [JSON_TOO_MANY] = "more than one row was selected for a shape of one",
        [JSON_TOO_LONG] = result_bound_exceeded,
        [JSON_NOT_WRITABLE] = "a value cannot be written as JSON",
        [JSON_NOT_WHOLE] = "what Postgres gives as JSON is none",
    };

    if (status == JSON_NO_ROW) {
        rows->status = ROWS_NONE;
    } else if (status != JSON_OK) {
        rows->status = ROWS_BROKEN;
        rows->problem = problems[status];
    }
    return rows->status;
}

/* false: there is none, and the rows are broken. */
static bool has_room(struct rows *rows, size_t bytes)
{
    const char *problem = result_share_set(&rows->share, bytes);

    if (problem == NULL)
        return true;
    rows->status = ROWS_BROKEN;
    rows->problem = problem;
    return false;
}

/* As JSON it is no shorter than its values. */
static size_t row_bytes(const struct rows *rows, const PGresult *result, int row)
{
    size_t bytes = 0;

    for (size_t i = 0; i < rows->plan->n_columns; i++)
        bytes += (size_t)PQgetlength(result, row, (int)i);
    return bytes;
}

static void take_row(struct rows *rows, const PGresult *result, int row)
{
    size_t count = rows->plan->n_columns;

    if (!has_room(rows, json_writer_length(rows->writer) + row_bytes(rows, result, row)))
        return;
    for (size_t i = 0; i < count; i++) {
        bool is_null = PQgetisnull(result, row, (int)i);
        rows->cells[i] = (struct json_cell){
            .text = is_null ? NULL : PQgetvalue(result, row, (int)i),
            .len = (size_t)PQgetlength(result, row, (int)i),
        };
    }
    if (take_status(rows, json_writer_row(rows->writer, rows->plan->columns, rows->cells, count)) ==
        ROWS_OK)
        has_room(rows, json_writer_length(rows->writer));
}

enum rows_status rows_take(struct rows *rows, const PGresult *result)
{
    if (!rows->checked && !plan_fits(rows->plan, result))
        rows->status = ROWS_OUTDATED;
    rows->checked = true;
    for (int row = 0; row < PQntuples(result) && rows->status == ROWS_OK; row++)
        take_row(rows, result, row);
    return rows->status;
}

enum rows_status rows_finish(struct rows *rows, const struct buf **json)
{
    if (rows->status != ROWS_OK)
        return rows->status;
    return take_status(rows, json_writer_finish(rows->writer, json));
}
