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
    const PGresult *result; /* what is taken, */
    int row;                /* its next row, */
    bool is_in_row;         /* or the one that has been begun */
    bool checked;           /* the columns of what arrives are the plan's */
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

size_t rows_length(const struct rows *rows)
{
    return json_writer_length(rows->writer);
}

static void begin_row(struct rows *rows)
{
    const PGresult *result = rows->result;
    size_t count = rows->plan->n_columns;
    int row = rows->row;

    if (!has_room(rows, rows_length(rows) + row_bytes(rows, result, row)))
        return;
    for (size_t i = 0; i < count; i++) {
        bool is_null = PQgetisnull(result, row, (int)i);
        rows->cells[i] = (struct json_cell){
            .text = is_null ? NULL : PQgetvalue(result, row, (int)i),
            .len = (size_t)PQgetlength(result, row, (int)i),
        };
    }
    json_writer_begin_row(rows->writer, rows->plan->columns, rows->cells, count);
    rows->is_in_row = true;
}

static void end_row(struct rows *rows)
{
    rows->is_in_row = false;
    rows->row++;
    has_room(rows, rows_length(rows));
}

enum rows_status rows_go_on(struct rows *rows)
{
    while (rows->status == ROWS_OK && rows->row < PQntuples(rows->result)) {
        if (!rows->is_in_row)
            begin_row(rows);
        if (rows->status != ROWS_OK)
            break;
        enum json_status status = json_writer_go_on(rows->writer, ROWS_STEP_BYTES);
        if (status == JSON_MORE)
            return ROWS_MORE;
        if (take_status(rows, status) == ROWS_OK)
            end_row(rows);
    }
    return rows->status;
}

enum rows_status rows_take(struct rows *rows, const PGresult *result)
{
    if (!rows->checked && !plan_fits(rows->plan, result))
        rows->status = ROWS_OUTDATED;
    rows->checked = true;
    rows->result = result;
    rows->row = 0;
    return rows_go_on(rows);
}

enum rows_status rows_finish(struct rows *rows, struct json_text *json)
{
    if (rows->status != ROWS_OK)
        return rows->status;
    return take_status(rows, json_writer_finish(rows->writer, json));
}
