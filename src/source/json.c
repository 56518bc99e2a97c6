/* SPDX-License-Identifier: BSD-2-Clause */
/* A yajl generator that prints into a bounded buffer. */
#include "config.h"

#include "source/json.h"

#include <string.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>

#include "base/mem.h"

enum {
    /* Of work, between two words of it: much less than a second of a slow processor's. */
    STEPS_A_WORD = 256 * 1024,
};

struct json_writer {
    enum route_shape shape;
    bool whole_rows;
    size_t limit;
    size_t rows;
    bool too_long;
    bool has_raw; /* some of it was not written here */
    struct buf out;
    yajl_gen gen;
    size_t prints;
    struct json_work work;
};

static void tell(const struct json_work *work)
{
    if (work->fn != NULL)
        work->fn(work->data, work->route);
}

static void print(void *data, const char *text, size_t len)
{
    struct json_writer *writer = data;

    if (writer->out.len + len > writer->limit)
        writer->too_long = true;
    else
        buf_append(&writer->out, text, len);
    if (++writer->prints % STEPS_A_WORD == 0)
        tell(&writer->work);
}

static int writer_destroy(struct json_writer *writer)
{
    yajl_gen_free(writer->gen);
    return 0;
}

struct json_writer *json_writer_new(TALLOC_CTX *ctx, enum route_shape shape, bool whole_rows,
                                    size_t limit)
{
    struct json_writer *writer = mem_check(talloc_zero(ctx, struct json_writer));

    writer->shape = shape;
    writer->whole_rows = whole_rows;
    writer->limit = limit;
    buf_init(&writer->out, writer, 1024);
    writer->gen = mem_check(yajl_gen_alloc(NULL));
    talloc_set_destructor(writer, writer_destroy);
    yajl_gen_config(writer->gen, yajl_gen_print_callback, print, writer);
    yajl_gen_config(writer->gen, yajl_gen_validate_utf8, 1);
    if (shape == SHAPE_ARRAY)
        yajl_gen_array_open(writer->gen);
    return writer;
}

void json_writer_tell(struct json_writer *writer, const struct json_work *work)
{
    writer->work = *work;
}

/* ---- What is parsed counts its tokens. In pieces it would be parsed again for each that a long
   string goes over. */

struct tokens {
    size_t count;
    const struct json_work *work;
};

static int take_token(void *data)
{
    struct tokens *tokens = data;

    if (++tokens->count % STEPS_A_WORD == 0)
        tell(tokens->work);
    return 1;
}

static int take_boolean(void *data, int value)
{
    (void)value;
    return take_token(data);
}

static int take_number(void *data, const char *text, size_t len)
{
    (void)text;
    (void)len;
    return take_token(data);
}

static int take_string(void *data, const unsigned char *text, size_t len)
{
    (void)text;
    (void)len;
    return take_token(data);
}

static bool is_whole(const char *text, size_t len, const struct json_work *work)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = take_token,
        .yajl_boolean = take_boolean,
        .yajl_number = take_number,
        .yajl_string = take_string,
        .yajl_start_map = take_token,
        .yajl_map_key = take_string,
        .yajl_end_map = take_token,
        .yajl_start_array = take_token,
        .yajl_end_array = take_token,
    };
    struct tokens tokens = {.work = work};
    yajl_handle parser = mem_check(yajl_alloc(&callbacks, NULL, &tokens));
    bool whole = yajl_parse(parser, (const unsigned char *)text, len) == yajl_status_ok &&
                 yajl_complete_parse(parser) == yajl_status_ok;

    yajl_free(parser);
    return whole;
}

bool json_is_whole(const char *text, size_t len)
{
    static const struct json_work nobody = {.fn = NULL};

    return is_whole(text, len, &nobody);
}

/* "NaN", "Infinity" and "-Infinity" are words in JSON. */
static bool is_finite_number(const struct json_cell *cell)
{
    const char *digits = cell->text[0] == '-' ? cell->text + 1 : cell->text;

    return digits[0] >= '0' && digits[0] <= '9';
}

static yajl_gen_status put_number(yajl_gen gen, const struct json_cell *cell)
{
    if (!is_finite_number(cell))
        return yajl_gen_string(gen, (const unsigned char *)cell->text, cell->len);
    if (strspn(cell->text, "0123456789.eE+-") != cell->len)
        return yajl_gen_invalid_number;
    return yajl_gen_number(gen, cell->text, cell->len);
}

static yajl_gen_status put_cell(struct json_writer *writer, enum json_kind kind,
                                const struct json_cell *cell)
{
    yajl_gen gen = writer->gen;

    if (cell->text == NULL)
        return yajl_gen_null(gen);
    switch (kind) {
    case JSON_NUMBER:
        return put_number(gen, cell);
    case JSON_BOOL:
        return yajl_gen_bool(gen, cell->text[0] == 't');
    case JSON_RAW:
        writer->has_raw = true;
        /* yajl copies a number through unchecked, which is what raw JSON needs */
        return yajl_gen_number(gen, cell->text, cell->len);
    case JSON_STRING:
        break;
    }
    return yajl_gen_string(gen, (const unsigned char *)cell->text, cell->len);
}

static yajl_gen_status put_object(struct json_writer *writer, const struct json_column *columns,
                                  const struct json_cell *cells, size_t count)
{
    yajl_gen gen = writer->gen;
    yajl_gen_status status = yajl_gen_map_open(gen);

    for (size_t i = 0; i < count && status == yajl_gen_status_ok; i++) {
        status =
            yajl_gen_string(gen, (const unsigned char *)columns[i].name, strlen(columns[i].name));
        if (status == yajl_gen_status_ok)
            status = put_cell(writer, columns[i].kind, &cells[i]);
    }
    return status == yajl_gen_status_ok ? yajl_gen_map_close(gen) : status;
}

enum json_status json_writer_row(struct json_writer *writer, const struct json_column *columns,
                                 const struct json_cell *cells, size_t count)
{
    yajl_gen_status status;

    if (writer->shape != SHAPE_ARRAY && writer->rows > 0)
        return JSON_TOO_MANY;
    writer->rows++;
    if (writer->shape == SHAPE_VALUE || writer->whole_rows)
        status = put_cell(writer, columns[0].kind, &cells[0]);
    else
        status = put_object(writer, columns, cells, count);
    if (status != yajl_gen_status_ok)
        return JSON_NOT_WRITABLE;
    return writer->too_long ? JSON_TOO_LONG : JSON_OK;
}

size_t json_writer_length(const struct json_writer *writer)
{
    return writer->out.len;
}

enum json_status json_writer_finish(struct json_writer *writer, const struct buf **json)
{
    if (writer->shape != SHAPE_ARRAY && writer->rows == 0)
        return JSON_NO_ROW;
    if (writer->shape == SHAPE_ARRAY)
        yajl_gen_array_close(writer->gen);
    if (writer->too_long)
        return JSON_TOO_LONG;
    if (writer->has_raw && !is_whole(writer->out.data, writer->out.len, &writer->work))
        return JSON_NOT_WHOLE;
    *json = &writer->out;
    return JSON_OK;
}
