/* SPDX-License-Identifier: BSD-2-Clause */
/* Prints into a bounded buffer, in front of which there is room for what will be put before the
   text; the text is hashed as it is written. */
#include "config.h"

#include "source/json.h"

#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "source/json_check.h"

enum {
    /* Of work, between two words of it: much less than a second of a slow processor's. */
    BYTES_A_WORD = 1024 * 1024,
};

/* The row that is written. */
struct row {
    const struct json_column *columns;
    const struct json_cell *cells;
    size_t count; /* of cells */
    bool bare;    /* the only cell, and no object around it */
    size_t cell;  /* the next, */
    bool begun;   /* or it has been begun, */
    size_t at;    /* and written up to here */
};

struct json_writer {
    enum route_shape shape;
    bool whole_rows;
    size_t limit;
    size_t rows;
    bool too_long;
    struct row row;
    struct json_check check;
    struct buf out;
    XXH3_state_t *hash;
    size_t hashed; /* of `out` */
    size_t worked; /* since the last word */
    struct json_work work;
};

static void count_work(struct json_writer *writer, size_t bytes)
{
    writer->worked += bytes;
    if (writer->worked < BYTES_A_WORD)
        return;
    writer->worked = 0;
    if (writer->work.fn != NULL)
        writer->work.fn(writer->work.data, writer->work.route);
}

static void print(struct json_writer *writer, const char *text, size_t len)
{
    if (json_writer_length(writer) + len > writer->limit)
        writer->too_long = true;
    else
        buf_append(&writer->out, text, len);
}

static void print_char(struct json_writer *writer, char c)
{
    print(writer, &c, 1);
}

static int writer_destroy(struct json_writer *writer)
{
    XXH3_freeState(writer->hash);
    return 0;
}

struct json_writer *json_writer_new(TALLOC_CTX *ctx, enum route_shape shape, bool whole_rows,
                                    size_t limit)
{
    static const char room[JSON_ROOM_BEFORE];
    struct json_writer *writer = mem_check(talloc_zero(ctx, struct json_writer));

    writer->shape = shape;
    writer->whole_rows = whole_rows;
    writer->limit = limit;
    json_check_init(&writer->check, writer);
    writer->hash = mem_check(XXH3_createState());
    XXH3_128bits_reset(writer->hash);
    talloc_set_destructor(writer, writer_destroy);
    buf_init(&writer->out, writer, 1024 + JSON_ROOM_BEFORE);
    buf_append(&writer->out, room, sizeof room);
    writer->hashed = writer->out.len;
    if (shape == SHAPE_ARRAY)
        print_char(writer, '[');
    return writer;
}

void json_writer_tell(struct json_writer *writer, const struct json_work *work)
{
    writer->work = *work;
}

static void hash_new(struct json_writer *writer)
{
    XXH3_128bits_update(writer->hash, writer->out.data + writer->hashed,
                        writer->out.len - writer->hashed);
    writer->hashed = writer->out.len;
}

/* ---- Strings */

static void print_escape(struct json_writer *writer, char c)
{
    static const char digits[] = "0123456789ABCDEF", letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    char unicode[] = "\\u00XX", brief[] = "\\X";

    for (const char *letter = letters; *letter != '\0'; letter += 2) {
        if (*letter != c)
            continue;
        brief[1] = letter[1];
        print(writer, brief, 2);
        return;
    }
    unicode[4] = digits[(unsigned char)c >> 4];
    unicode[5] = digits[c & 0xf];
    print(writer, unicode, 6);
}

/* How many bytes stand in a string as they are: characters of any kind, up to about `limit` bytes;
   -1: they are not UTF-8. */
static ssize_t plain_text(const char *text, size_t len, size_t limit)
{
    size_t at = 0;

    while (at < len && at < limit) {
        size_t some = len - at < limit - at ? len - at : limit - at;
        size_t plain = json_plain_bytes(text + at, some);
        at += plain;
        if (plain == some || (unsigned char)text[at] < 0x80)
            break;
        size_t character = utf8_char_bytes(text + at, len - at);
        if (character == 0)
            return -1;
        at += character;
    }
    return (ssize_t)at;
}

/* From row->at on; adds what was read to it. */
static enum json_status print_text(struct json_writer *writer, const struct json_cell *cell,
                                   size_t limit)
{
    struct row *row = &writer->row;
    size_t end = cell->len - row->at < limit ? cell->len : row->at + limit;

    while (row->at < end && !writer->too_long) {
        ssize_t plain = plain_text(cell->text + row->at, cell->len - row->at, end - row->at);
        if (plain == -1)
            return JSON_NOT_WRITABLE;
        print(writer, cell->text + row->at, (size_t)plain);
        row->at += (size_t)plain;
        if (row->at < end)
            print_escape(writer, cell->text[row->at++]);
    }
    return row->at < cell->len ? JSON_MORE : JSON_OK;
}

static enum json_status print_string(struct json_writer *writer, const char *text, size_t len)
{
    const struct row before = writer->row;
    const struct json_cell cell = {text, len};

    print_char(writer, '"');
    writer->row.at = 0;
    enum json_status status = print_text(writer, &cell, len);
    writer->row = before;
    print_char(writer, '"');
    return status;
}

/* ---- Cells */

/* "NaN", "Infinity" and "-Infinity" are words in JSON. */
static bool is_finite_number(const struct json_cell *cell)
{
    const char *digits = cell->text[0] == '-' ? cell->text + 1 : cell->text;

    return digits[0] >= '0' && digits[0] <= '9';
}

static enum json_status print_number(struct json_writer *writer, const struct json_cell *cell)
{
    if (!is_finite_number(cell))
        return print_string(writer, cell->text, cell->len);
    if (strspn(cell->text, "0123456789.eE+-") != cell->len)
        return JSON_NOT_WRITABLE;
    print(writer, cell->text, cell->len);
    return JSON_OK;
}

/* Each is checked by itself: what is put together from values is one. */
static enum json_status print_raw(struct json_writer *writer, const struct json_cell *cell,
                                  size_t limit)
{
    struct row *row = &writer->row;
    size_t len = cell->len - row->at < limit ? cell->len - row->at : limit;

    if (!json_check_take(&writer->check, cell->text + row->at, len))
        return JSON_NOT_WHOLE;
    print(writer, cell->text + row->at, len);
    row->at += len;
    if (row->at < cell->len)
        return JSON_MORE;
    return json_check_is_whole(&writer->check) ? JSON_OK : JSON_NOT_WHOLE;
}

/* JSON_OK: to its end. */
static enum json_status print_cell(struct json_writer *writer, size_t limit)
{
    struct row *row = &writer->row;
    const struct json_cell *cell = &row->cells[row->cell];
    enum json_kind kind = row->columns[row->cell].kind;

    if (cell->text == NULL) {
        print(writer, "null", 4);
        return JSON_OK;
    }
    switch (kind) {
    case JSON_NUMBER:
        return print_number(writer, cell);
    case JSON_BOOL:
        print(writer, cell->text[0] == 't' ? "true" : "false", cell->text[0] == 't' ? 4 : 5);
        return JSON_OK;
    case JSON_RAW:
        return print_raw(writer, cell, limit);
    case JSON_STRING:
        break;
    }
    return print_text(writer, cell, limit);
}

static bool is_quoted(const struct row *row)
{
    return row->columns[row->cell].kind == JSON_STRING && row->cells[row->cell].text != NULL;
}

/* The cell's name, and what comes before it and its value. */
static enum json_status begin_cell(struct json_writer *writer)
{
    struct row *row = &writer->row;
    enum json_status status = JSON_OK;

    if (!row->bare) {
        const char *name = row->columns[row->cell].name;
        if (row->cell > 0)
            print_char(writer, ',');
        status = print_string(writer, name, strlen(name));
        print_char(writer, ':');
    }
    if (is_quoted(row))
        print_char(writer, '"');
    json_check_begin(&writer->check);
    row->begun = true;
    row->at = 0;
    return status;
}

static void end_cell(struct json_writer *writer)
{
    if (is_quoted(&writer->row))
        print_char(writer, '"');
    writer->row.begun = false;
    writer->row.cell++;
}

/* ---- Rows */

void json_writer_begin_row(struct json_writer *writer, const struct json_column *columns,
                           const struct json_cell *cells, size_t count)
{
    bool bare = writer->shape == SHAPE_VALUE || writer->whole_rows;

    writer->row =
        (struct row){.columns = columns, .cells = cells, .count = bare ? 1 : count, .bare = bare};
    writer->rows++;
    if (writer->rows > 1 && writer->shape == SHAPE_ARRAY)
        print_char(writer, ',');
    if (!bare)
        print_char(writer, '{');
}

/* Of this call: JSON_MORE if the limit ended it. */
static enum json_status go_on(struct json_writer *writer, size_t limit)
{
    struct row *row = &writer->row;
    enum json_status status;

    while (row->cell < row->count) {
        if (limit == 0)
            return JSON_MORE;
        if (!row->begun && (status = begin_cell(writer)) != JSON_OK)
            return status;
        size_t before = row->at;
        status = print_cell(writer, limit);
        size_t read = row->at - before;
        count_work(writer, read);
        if (status != JSON_OK)
            return status;
        limit -= read < limit ? read : limit;
        end_cell(writer);
    }
    if (!row->bare)
        print_char(writer, '}');
    return JSON_OK;
}

enum json_status json_writer_go_on(struct json_writer *writer, size_t limit)
{
    if (writer->shape != SHAPE_ARRAY && writer->rows > 1)
        return JSON_TOO_MANY;
    enum json_status status = go_on(writer, limit);
    hash_new(writer);
    return writer->too_long ? JSON_TOO_LONG : status;
}

size_t json_writer_length(const struct json_writer *writer)
{
    return writer->out.len - JSON_ROOM_BEFORE;
}

enum json_status json_writer_finish(struct json_writer *writer, struct json_text *text)
{
    if (writer->shape != SHAPE_ARRAY && writer->rows == 0)
        return JSON_NO_ROW;
    if (writer->shape == SHAPE_ARRAY)
        print_char(writer, ']');
    if (writer->too_long)
        return JSON_TOO_LONG;
    hash_new(writer);
    /* without the room that it had to grow: whoever keeps it counts it as a whole */
    writer->out.size = writer->out.len + 1;
    writer->out.data =
        mem_check(talloc_realloc(writer, writer->out.data, char, (unsigned)writer->out.size));
    XXH128_hash_t hash = XXH3_128bits_digest(writer->hash);
    *text = (struct json_text){
        .chunk = writer->out.data,
        .bytes = writer->out.data + JSON_ROOM_BEFORE,
        .len = json_writer_length(writer),
        .hash_high = hash.high64,
        .hash_low = hash.low64,
    };
    return JSON_OK;
}
