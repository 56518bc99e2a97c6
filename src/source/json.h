/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of text to JSON, one row at a time. Knows nothing of Postgres but the
   spelling of its numbers and booleans. */
#ifndef LEEWAY_SOURCE_JSON_H
#define LEEWAY_SOURCE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

#include "base/buf.h"
#include "config/model.h"

enum json_kind {
    JSON_STRING,
    JSON_NUMBER, /* as it stands; "NaN", "Infinity" and "-Infinity" become strings */
    JSON_BOOL,   /* "t" or "f" */
    JSON_RAW,    /* JSON as it stands */
};

struct json_column {
    const char *name; /* UTF-8 */
    enum json_kind kind;
};

struct json_cell {
    const char *text; /* NULL: null */
    size_t len;
};

enum json_status {
    JSON_OK,
    JSON_NO_ROW,       /* object or value: nothing was selected */
    JSON_TOO_MANY,     /* object or value: a second row */
    JSON_TOO_LONG,     /* past the limit */
    JSON_NOT_WRITABLE, /* text that is not UTF-8, a number that is none, or nested too deeply */
    JSON_NOT_WHOLE,    /* what came as JSON_RAW makes the result something else than JSON */
};

/* Whether the bytes are exactly one JSON value (RFC 8259), white space around it allowed. */
bool json_is_whole(const char *text, size_t len);

struct json_writer;

/* Called now and then while a long result is written or checked, which holds the process up: it
   works. */
struct json_work {
    void (*fn)(void *data, const struct route *route); /* NULL: nobody wants to know */
    void *data;
    const struct route *route;
};

/* A row is an object of its columns. With `whole_rows` the single column already
   is that object. `limit`: bytes of the result. */
struct json_writer *json_writer_new(TALLOC_CTX *ctx, enum route_shape shape, bool whole_rows,
                                    size_t limit);

void json_writer_tell(struct json_writer *writer, const struct json_work *work);

/* `columns` are borrowed for the call only. */
enum json_status json_writer_row(struct json_writer *writer, const struct json_column *columns,
                                 const struct json_cell *cells, size_t count);

/* Bytes written so far. */
size_t json_writer_length(const struct json_writer *writer);

/* On JSON_OK *json is the finished text, one whole JSON value; it belongs to the writer. Where
   cells of JSON_RAW were put in, yajl's parser goes over all of it: some 30 instructions a byte. */
enum json_status json_writer_finish(struct json_writer *writer, const struct buf **json);

#endif
