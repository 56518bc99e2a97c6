/* SPDX-License-Identifier: BSD-2-Clause */
/* Records as the FastCGI specification 1.0 lays them out (sections 3.3, 4, 5 and 8). */
#include "config.h"

#include "http/fcgi_record.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    PROTOCOL_VERSION = 1,
    HEADER_BYTES = 8,
    BEGIN_CONTENT_BYTES = 8,
    ROLE_RESPONDER = 1,
    FLAG_KEEP_CONN = 1,
    ALIGNMENT = 8,
    /* the largest aligned content: a record of it takes FULL_RECORD_BYTES and no padding */
    FULL_CONTENT_BYTES = 65528,
    FULL_RECORD_BYTES = HEADER_BYTES + FULL_CONTENT_BYTES,
    END_BYTES = HEADER_BYTES + HEADER_BYTES + 8, /* empty STDOUT, END_REQUEST */
    MAX_CONNECTIONS = 1024,
};

_Static_assert(FCGI_FRAME_SCRATCH_MIN >= ALIGNMENT - 1 + END_BYTES,
               "padding and end are one piece");

enum record_type {
    TYPE_BEGIN_REQUEST = 1,
    TYPE_ABORT_REQUEST = 2,
    TYPE_END_REQUEST = 3,
    TYPE_PARAMS = 4,
    TYPE_STDIN = 5,
    TYPE_STDOUT = 6,
    TYPE_DATA = 8, /* the last that belongs to a request */
    TYPE_GET_VALUES = 9,
    TYPE_GET_VALUES_RESULT = 10,
    TYPE_UNKNOWN_TYPE = 11,
};

static uint16_t read_u16(const unsigned char *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* Name/value pairs of a stream, fed in pieces that may end anywhere. */
struct pairs {
    uint64_t skip;    /* bytes of name and value still to come */
    uint64_t lengths; /* of the pair being begun, as far as both lengths are known */
    uint32_t number;  /* a length of four bytes, as far as it is known */
    int number_left;  /* its bytes still to come */
    bool has_name_length;
};

static void pairs_take_length(struct pairs *pairs, uint32_t length)
{
    pairs->lengths += length;
    if (pairs->has_name_length) {
        pairs->skip = pairs->lengths;
        pairs->lengths = 0;
    }
    pairs->has_name_length = !pairs->has_name_length;
}

static void pairs_take_byte(struct pairs *pairs, unsigned char byte)
{
    if (pairs->number_left > 0) {
        pairs->number = pairs->number << 8 | byte;
        if (--pairs->number_left == 0)
            pairs_take_length(pairs, pairs->number);
    } else if ((byte & 0x80) != 0) {
        pairs->number = byte & 0x7f;
        pairs->number_left = 3;
    } else {
        pairs_take_length(pairs, byte);
    }
}

static bool pairs_complete(const struct pairs *pairs)
{
    return pairs->skip == 0 && pairs->number_left == 0 && !pairs->has_name_length;
}

/* The usual pair, with lengths of one byte each and all of it there: its length; else 0. */
static size_t short_pair(const struct pairs *pairs, const unsigned char *bytes, size_t len)
{
    if (len < 2 || ((bytes[0] | bytes[1]) & 0x80) != 0 || !pairs_complete(pairs))
        return 0;
    size_t whole = 2 + (size_t)bytes[0] + bytes[1];
    return whole <= len ? whole : 0;
}

static void pairs_feed(struct pairs *pairs, const unsigned char *bytes, size_t len)
{
    while (len > 0) {
        size_t step = short_pair(pairs, bytes, len);
        if (step > 0) {
            /* nothing of it is wanted here */
        } else if (pairs->skip > 0) {
            step = pairs->skip < len ? (size_t)pairs->skip : len;
            pairs->skip -= step;
        } else {
            step = 1;
            pairs_take_byte(pairs, *bytes);
        }
        bytes += step;
        len -= step;
    }
}

enum phase { PHASE_START, PHASE_PARAMS, PHASE_STDIN };

struct scan {
    const unsigned char *bytes;
    size_t len;
    size_t at;
    enum phase phase;
    size_t phase_at; /* where it began */
    struct pairs pairs;
    uint64_t stream_bytes;
    const struct fcgi_limits *limits;
    struct fcgi_verdict *verdict;
};

struct record {
    int type;
    uint16_t id;
    size_t content_len;
    size_t length; /* with header and padding */
};

static bool is_management(int type)
{
    return type == 0 || type > TYPE_DATA;
}

static bool is_expected_type(enum phase phase, int type)
{
    switch (phase) {
    case PHASE_START:
        return type == TYPE_BEGIN_REQUEST || type == TYPE_ABORT_REQUEST || is_management(type);
    case PHASE_PARAMS:
        return type == TYPE_PARAMS || type == TYPE_ABORT_REQUEST;
    default:
        return type == TYPE_STDIN || type == TYPE_ABORT_REQUEST;
    }
}

/* `begun` is the request's, behind PHASE_START. */
static bool is_expected_id(enum phase phase, uint16_t begun, int type, uint16_t id)
{
    if (phase != PHASE_START)
        return id == begun;
    return is_management(type) == (id == 0);
}

static bool is_expected_length(int type, size_t content_len)
{
    if (type == TYPE_BEGIN_REQUEST)
        return content_len == BEGIN_CONTENT_BYTES;
    return type != TYPE_ABORT_REQUEST || content_len == 0;
}

/* As far as it is known. */
static bool is_expected_header(enum phase phase, uint16_t begun, const unsigned char *header,
                               size_t len)
{
    return (len < 1 || header[0] == PROTOCOL_VERSION) &&
           (len < 2 || is_expected_type(phase, header[1])) &&
           (len < 4 || is_expected_id(phase, begun, header[1], read_u16(header + 2))) &&
           (len < 6 || is_expected_length(header[1], read_u16(header + 4)));
}

/* MORE stands for nothing against it, even when the header is whole. */
static enum fcgi_state judge_header(const struct scan *scan)
{
    return is_expected_header(scan->phase, scan->verdict->id, scan->bytes + scan->at,
                              scan->len - scan->at)
               ? FCGI_CHECK_MORE
               : FCGI_CHECK_BAD;
}

static struct record read_header(const unsigned char *header)
{
    size_t content_len = read_u16(header + 4);

    return (struct record){
        .type = header[1],
        .id = read_u16(header + 2),
        .content_len = content_len,
        .length = HEADER_BYTES + content_len + header[6],
    };
}

/* Refuses a stream as soon as a header tells how much too long it will be. */
static enum fcgi_state judge_size(struct scan *scan, const struct record *record)
{
    if (scan->phase == PHASE_START || record->content_len == 0)
        return FCGI_CHECK_MORE;
    scan->stream_bytes += record->length;
    if (scan->phase == PHASE_PARAMS && scan->stream_bytes > scan->limits->max_params_bytes)
        return FCGI_CHECK_PARAMS_TOO_LARGE;
    if (scan->phase == PHASE_STDIN && scan->stream_bytes > scan->limits->max_stdin_bytes)
        return FCGI_CHECK_STDIN_TOO_LARGE;
    return FCGI_CHECK_MORE;
}

static enum fcgi_state take_begin(struct scan *scan, const unsigned char *content)
{
    if (read_u16(content) != ROLE_RESPONDER)
        return FCGI_CHECK_BAD;
    scan->verdict->keep = (content[2] & FLAG_KEEP_CONN) != 0;
    scan->phase = PHASE_PARAMS;
    return FCGI_CHECK_MORE;
}

static enum fcgi_state take_params(struct scan *scan, const unsigned char *content, size_t len)
{
    pairs_feed(&scan->pairs, content, len);
    if (len > 0)
        return FCGI_CHECK_MORE;
    scan->phase = PHASE_STDIN;
    scan->stream_bytes = 0;
    return pairs_complete(&scan->pairs) ? FCGI_CHECK_MORE : FCGI_CHECK_BAD;
}

static enum fcgi_state take_content(struct scan *scan, const struct record *record)
{
    const unsigned char *content = scan->bytes + scan->at + HEADER_BYTES;

    switch (record->type) {
    case TYPE_BEGIN_REQUEST:
        return take_begin(scan, content);
    case TYPE_ABORT_REQUEST:
        return FCGI_CHECK_ABORT;
    case TYPE_PARAMS:
        return take_params(scan, content, record->content_len);
    case TYPE_STDIN:
        return record->content_len > 0 ? FCGI_CHECK_MORE : FCGI_CHECK_WHOLE;
    default:
        return FCGI_CHECK_MANAGEMENT;
    }
}

/* true: a record was taken, and the next one is to be looked at. */
static bool take_record(struct scan *scan)
{
    struct fcgi_verdict *verdict = scan->verdict;
    size_t left = scan->len - scan->at;

    verdict->state = judge_header(scan);
    if (verdict->state != FCGI_CHECK_MORE || left < HEADER_BYTES)
        return false;
    const struct record record = read_header(scan->bytes + scan->at);
    verdict->id = record.id;
    verdict->state = judge_size(scan, &record);
    if (verdict->state != FCGI_CHECK_MORE || left < record.length)
        return false;
    enum phase before = scan->phase;
    verdict->state = take_content(scan, &record);
    scan->at += record.length;
    if (scan->phase != before)
        scan->phase_at = scan->at;
    return verdict->state == FCGI_CHECK_MORE;
}

void fcgi_check(const unsigned char *bytes, size_t len, const struct fcgi_limits *limits,
                struct fcgi_verdict *verdict)
{
    struct scan scan = {.bytes = bytes, .len = len, .limits = limits, .verdict = verdict};

    *verdict = (struct fcgi_verdict){.state = FCGI_CHECK_MORE};
    while (take_record(&scan))
        continue;
    if (verdict->state == FCGI_CHECK_WHOLE || verdict->state == FCGI_CHECK_MANAGEMENT ||
        verdict->state == FCGI_CHECK_ABORT)
        verdict->length = scan.at;
    else if (verdict->state == FCGI_CHECK_PARAMS_TOO_LARGE ||
             verdict->state == FCGI_CHECK_STDIN_TOO_LARGE)
        verdict->length = scan.phase_at;
}

const char *fcgi_state_name(enum fcgi_state state)
{
    static const char *const names[] = {
        [FCGI_CHECK_MORE] = "more",
        [FCGI_CHECK_WHOLE] = "whole",
        [FCGI_CHECK_MANAGEMENT] = "management",
        [FCGI_CHECK_ABORT] = "abort",
        [FCGI_CHECK_PARAMS_TOO_LARGE] = "params-too-large",
        [FCGI_CHECK_STDIN_TOO_LARGE] = "stdin-too-large",
        [FCGI_CHECK_BAD] = "bad",
    };

    return names[state];
}

void fcgi_rest_begin(struct fcgi_rest *rest, const struct fcgi_verdict *verdict)
{
    assert(verdict->state == FCGI_CHECK_PARAMS_TOO_LARGE ||
           verdict->state == FCGI_CHECK_STDIN_TOO_LARGE);
    *rest = (struct fcgi_rest){
        .id = verdict->id,
        .in_stdin = verdict->state == FCGI_CHECK_STDIN_TOO_LARGE,
    };
}

/* Its header has been completed. Empty records end a stream. */
static void rest_begin_record(struct fcgi_rest *rest)
{
    const struct record record = read_header(rest->header);

    rest->header_len = 0;
    rest->record_left = record.length - HEADER_BYTES;
    if (record.type == TYPE_ABORT_REQUEST)
        rest->behind = FCGI_REST_ABORT;
    else if (record.content_len == 0 && rest->in_stdin)
        rest->behind = FCGI_REST_END;
    else if (record.content_len == 0)
        rest->in_stdin = true;
}

enum fcgi_rest_state fcgi_rest_pass(struct fcgi_rest *rest, const unsigned char *bytes, size_t len,
                                    size_t *passed)
{
    for (*passed = 0;;) {
        size_t left = len - *passed;
        size_t step = rest->record_left < left ? rest->record_left : left;
        *passed += step;
        rest->record_left -= step;
        if (rest->record_left == 0 && rest->behind != FCGI_REST_MORE)
            return rest->behind;
        if (*passed == len)
            return FCGI_REST_MORE;
        rest->header[rest->header_len++] = bytes[(*passed)++];
        if (!is_expected_header(rest->in_stdin ? PHASE_STDIN : PHASE_PARAMS, rest->id, rest->header,
                                rest->header_len))
            return FCGI_REST_BAD;
        if (rest->header_len == HEADER_BYTES)
            rest_begin_record(rest);
    }
}

static void write_header(unsigned char *out, int type, uint16_t id, size_t content_len,
                         size_t padding)
{
    const unsigned char header[HEADER_BYTES] = {
        PROTOCOL_VERSION,
        (unsigned char)type,
        (unsigned char)(id >> 8),
        (unsigned char)id,
        (unsigned char)(content_len >> 8),
        (unsigned char)content_len,
        (unsigned char)padding,
        0,
    };

    memcpy(out, header, HEADER_BYTES);
}

void fcgi_stdin_end(uint16_t id, unsigned char out[FCGI_STDIN_END_BYTES])
{
    write_header(out, TYPE_STDIN, id, 0, 0);
}

static size_t padding_of(uint64_t content_len)
{
    return (size_t)(-content_len % ALIGNMENT);
}

/* The variables of section 4.1. A web server that heeds them opens no more connections
   than one worker holds, and sends one request at a time over each. */
static const struct variable {
    const char *name;
    int value;
} variables[] = {
    {"FCGI_MAX_CONNS", MAX_CONNECTIONS},
    {"FCGI_MAX_REQS", MAX_CONNECTIONS},
    {"FCGI_MPXS_CONNS", 0},
};

enum { VARIABLE_COUNT = sizeof variables / sizeof variables[0] };

/* One length in front of a pair. false: `*at` has not so many bytes. */
static bool read_length(const unsigned char **at, const unsigned char *end, size_t *length)
{
    const unsigned char *p = *at;

    if (p == end)
        return false;
    if ((p[0] & 0x80) == 0) {
        *length = p[0];
        *at += 1;
        return true;
    }
    if (end - p < 4)
        return false;
    *length = (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    *at += 4;
    return true;
}

/* Which variables are asked for, up to where the pairs stop making sense. */
static void find_asked(const unsigned char *at, const unsigned char *end,
                       bool asked[VARIABLE_COUNT])
{
    size_t name_len, value_len;

    while (read_length(&at, end, &name_len) && read_length(&at, end, &value_len)) {
        if (name_len > (size_t)(end - at) || value_len > (size_t)(end - at) - name_len)
            return;
        for (size_t i = 0; i < VARIABLE_COUNT; i++)
            if (name_len == strlen(variables[i].name) &&
                memcmp(at, variables[i].name, name_len) == 0)
                asked[i] = true;
        at += name_len + value_len;
    }
}

static size_t write_variable(unsigned char *out, const struct variable *variable)
{
    char value[16];
    size_t name_len = strlen(variable->name);
    size_t value_len = (size_t)snprintf(value, sizeof value, "%d", variable->value);

    out[0] = (unsigned char)name_len;
    out[1] = (unsigned char)value_len;
    memcpy(out + 2, variable->name, name_len);
    memcpy(out + 2 + name_len, value, value_len);
    return 2 + name_len + value_len;
}

static size_t write_values(const unsigned char *content, size_t content_len, unsigned char *out)
{
    bool asked[VARIABLE_COUNT] = {false};
    size_t len = 0;

    find_asked(content, content + content_len, asked);
    for (size_t i = 0; i < VARIABLE_COUNT; i++)
        if (asked[i])
            len += write_variable(out + HEADER_BYTES + len, &variables[i]);
    size_t padding = padding_of(len);
    write_header(out, TYPE_GET_VALUES_RESULT, 0, len, padding);
    memset(out + HEADER_BYTES + len, 0, padding);
    return HEADER_BYTES + len + padding;
}

static size_t write_unknown_type(int type, unsigned char *out)
{
    write_header(out, TYPE_UNKNOWN_TYPE, 0, 8, 0);
    memset(out + HEADER_BYTES, 0, 8);
    out[HEADER_BYTES] = (unsigned char)type;
    return HEADER_BYTES + 8;
}

size_t fcgi_management_reply(const unsigned char *record, size_t len, unsigned char *out,
                             size_t size)
{
    assert(len >= HEADER_BYTES && size >= FCGI_MANAGEMENT_REPLY_BYTES);
    const struct record read = read_header(record);

    assert(read.length <= len);
    if (read.type == TYPE_GET_VALUES)
        return write_values(record + HEADER_BYTES, read.content_len, out);
    return write_unknown_type(read.type, out);
}

static uint64_t frame_content_length(const struct fcgi_frame *frame)
{
    return (uint64_t)frame->head_len + frame->body_len;
}

uint64_t fcgi_frame_length(const struct fcgi_frame *frame)
{
    uint64_t content_len = frame_content_length(frame);
    uint64_t records = (content_len + FULL_CONTENT_BYTES - 1) / FULL_CONTENT_BYTES;

    return content_len + padding_of(content_len) + records * HEADER_BYTES + END_BYTES;
}

/* Collects pieces, leaving out those before the position asked for. */
struct pieces {
    struct iovec *iov;
    int count;
    int max;
    unsigned char *scratch;
    size_t scratch_left;
    uint64_t skip;
};

/* false: there is no room. */
static bool add_piece(struct pieces *pieces, const void *bytes, size_t len)
{
    if (pieces->skip >= len) {
        pieces->skip -= len;
        return true;
    }
    if (pieces->count == pieces->max)
        return false;
    /* an iovec to be sent from is not written to */
    pieces->iov[pieces->count++] = (struct iovec){
        .iov_base = (void *)((uintptr_t)bytes + (uintptr_t)pieces->skip),
        .iov_len = len - (size_t)pieces->skip,
    };
    pieces->skip = 0;
    return true;
}

/* The same for bytes that are not the frame's, and so have to be kept in scratch. */
static bool add_copied(struct pieces *pieces, const unsigned char *bytes, size_t len)
{
    if (pieces->skip >= len) {
        pieces->skip -= len;
        return true;
    }
    if (pieces->scratch_left < len || pieces->count == pieces->max)
        return false;
    memcpy(pieces->scratch, bytes, len);
    bool added = add_piece(pieces, pieces->scratch, len);
    pieces->scratch += len;
    pieces->scratch_left -= len;
    return added;
}

static bool add_body(struct pieces *pieces, const struct fcgi_frame *frame, size_t at, size_t len)
{
    size_t some;

    if (frame->chunks == NULL)
        return add_piece(pieces, frame->body + at, len);
    for (; len > 0; at += some, len -= some) {
        const char *bytes = chunks_at(frame->chunks, at, &some);
        some = some < len ? some : len;
        if (!add_piece(pieces, bytes, some))
            return false;
    }
    return true;
}

/* `len` bytes of content from `at` on, which may lie in head, body or both. */
static bool add_content(struct pieces *pieces, const struct fcgi_frame *frame, uint64_t at,
                        size_t len)
{
    size_t from_head = 0;

    if (at < frame->head_len) {
        from_head = frame->head_len - (size_t)at < len ? frame->head_len - (size_t)at : len;
        if (!add_piece(pieces, frame->head + at, from_head))
            return false;
    }
    if (from_head == len)
        return true;
    return add_body(pieces, frame, (size_t)(at + from_head - frame->head_len), len - from_head);
}

static bool add_record(struct pieces *pieces, const struct fcgi_frame *frame, uint64_t at,
                       size_t len)
{
    unsigned char header[HEADER_BYTES];

    write_header(header, TYPE_STDOUT, frame->id, len, padding_of(len));
    return add_copied(pieces, header, sizeof header) && add_content(pieces, frame, at, len);
}

/* The last record's padding, the end of STDOUT, END_REQUEST with status 0, complete. */
static void add_end(struct pieces *pieces, const struct fcgi_frame *frame)
{
    unsigned char end[ALIGNMENT + END_BYTES] = {0};
    size_t padding = padding_of(frame_content_length(frame));

    write_header(end + padding, TYPE_STDOUT, frame->id, 0, 0);
    write_header(end + padding + HEADER_BYTES, TYPE_END_REQUEST, frame->id, 8, 0);
    add_copied(pieces, end, padding + END_BYTES);
}

int fcgi_frame_iov(const struct fcgi_frame *frame, uint64_t from, struct iovec *iov, int max_iov,
                   unsigned char *scratch, size_t scratch_size)
{
    uint64_t content_len = frame_content_length(frame);
    uint64_t full_records = content_len / FULL_CONTENT_BYTES;
    uint64_t first =
        from / FULL_RECORD_BYTES < full_records ? from / FULL_RECORD_BYTES : full_records;
    struct pieces pieces = {
        .iov = iov,
        .max = max_iov,
        .scratch = scratch,
        .scratch_left = scratch_size,
        .skip = from - first * FULL_RECORD_BYTES,
    };

    assert(max_iov >= 1 && scratch_size >= FCGI_FRAME_SCRATCH_MIN);
    for (uint64_t at = first * FULL_CONTENT_BYTES; at < content_len; at += FULL_CONTENT_BYTES) {
        uint64_t left = content_len - at;
        size_t len = left < FULL_CONTENT_BYTES ? (size_t)left : FULL_CONTENT_BYTES;
        if (!add_record(&pieces, frame, at, len))
            return pieces.count;
    }
    add_end(&pieces, frame);
    return pieces.count;
}
