/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of text to JSON, one row at a time, and a long one in steps. Knows nothing of Postgres but
   the spelling of its numbers and booleans. */
#ifndef LEEWAY_SOURCE_JSON_H
#define LEEWAY_SOURCE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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
    JSON_MORE,         /* the row is not written to its end */
    JSON_NO_ROW,       /* object or value: nothing was selected */
    JSON_TOO_MANY,     /* object or value: a second row */
    JSON_TOO_LONG,     /* past the limit */
    JSON_NOT_WRITABLE, /* text that is not UTF-8, or a number that is none */
    JSON_NOT_WHOLE,    /* what came as JSON_RAW is not one JSON value */
};

/* A finished text. */
struct json_text {
    char *chunk; /* talloc's, in which JSON_ROOM_BEFORE bytes are free before the text */
    char *bytes;
    size_t len;
    uint64_t hash_high, hash_low; /* XXH3_128bits of it */
};

enum { JSON_ROOM_BEFORE = 512 };

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

/* Begins a row; columns and cells are borrowed until json_writer_go_on() has written it. */
void json_writer_begin_row(struct json_writer *writer, const struct json_column *columns,
                           const struct json_cell *cells, size_t count);

/* Writes on, from about `limit` bytes of the cells at the most: JSON_MORE as long as there are more
   of them. */
enum json_status json_writer_go_on(struct json_writer *writer, size_t limit)
    __attribute__((warn_unused_result));

/* Bytes written so far. */
size_t json_writer_length(const struct json_writer *writer);

/* On JSON_OK *text is one whole JSON value, whose chunk belongs to the writer. */
enum json_status json_writer_finish(struct json_writer *writer, struct json_text *text)
    __attribute__((warn_unused_result));

#endif
