/* SPDX-License-Identifier: BSD-2-Clause */
/* A walk over records that never looks beyond `len`, and the arithmetic of framing. */
#include "config.h"

#include "http/fcgi_record.h"

#include <string.h>

enum {
    PROTOCOL_VERSION = 1,
    HEADER_BYTES = 8,
    TYPE_BEGIN_REQUEST = 1,
    TYPE_ABORT_REQUEST = 2,
    TYPE_END_REQUEST = 3,
    TYPE_PARAMS = 4,
    TYPE_STDIN = 5,
    TYPE_STDOUT = 6,
    TYPE_GET_VALUES = 9,
    TYPE_GET_VALUES_RESULT = 10,
    TYPE_UNKNOWN_TYPE = 11,
    ROLE_RESPONDER = 1,
    FLAG_KEEP_CONN = 1,
    BEGIN_BYTES = 8,
    /* The longest content that needs no padding; a full record is 64 KiB. */
    CONTENT_BYTES = 65528,
    RECORD_BYTES = CONTENT_BYTES + HEADER_BYTES,
    TRAILER_BYTES = 3 * HEADER_BYTES, /* the end of STDOUT, and END_REQUEST with its body */
};

struct record {
    int type;
    uint16_t id;
    size_t content_len;
    const unsigned char *content;
    size_t total; /* with header and padding */
};

enum take { TAKE_MORE, TAKE_OK, TAKE_BAD };

/* The record at `at`. Of an incomplete one as much is judged as is there. */
static enum take take_record(const unsigned char *bytes, size_t len, size_t at,
                             struct record *record)
{
    const unsigned char *header = bytes + at;

    if (at < len && header[0] != PROTOCOL_VERSION)
        return TAKE_BAD;
    if (len - at < HEADER_BYTES)
        return TAKE_MORE;
    record->type = header[1];
    record->id = (uint16_t)(header[2] << 8 | header[3]);
    record->content_len = (size_t)(header[4] << 8 | header[5]);
    record->content = header + HEADER_BYTES;
    record->total = HEADER_BYTES + record->content_len + header[6];
    return len - at < record->total ? TAKE_MORE : TAKE_OK;
}

static bool header_is_there(size_t len, size_t at)
{
    return len - at >= HEADER_BYTES;
}

/* Name-value pairs (section 3.4) as a stream, for a pair may lie across records. */
struct pairs {
    int lengths_read; /* of the pair: 0, 1 or 2 */
    int length_bytes; /* of the current length still to come; 0: its first byte comes next */
    uint64_t length;
    uint64_t to_skip; /* name and value together */
};

static void end_length(struct pairs *pairs)
{
    pairs->to_skip += pairs->length;
    pairs->length = 0;
    pairs->lengths_read++;
}

static void take_length_byte(struct pairs *pairs, unsigned char byte)
{
    if (pairs->length_bytes > 0) {
        pairs->length = pairs->length << 8 | byte;
        if (--pairs->length_bytes == 0)
            end_length(pairs);
    } else if ((byte & 0x80) != 0) {
        pairs->length = byte & 0x7f;
        pairs->length_bytes = 3;
    } else {
        pairs->length = byte;
        end_length(pairs);
    }
}

static void take_pair_bytes(struct pairs *pairs, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (pairs->lengths_read < 2) {
            take_length_byte(pairs, bytes[i++]);
        } else {
            size_t step = len - i < pairs->to_skip ? len - i : (size_t)pairs->to_skip;
            pairs->to_skip -= step;
            i += step;
        }
        if (pairs->lengths_read == 2 && pairs->to_skip == 0)
            *pairs = (struct pairs){.lengths_read = 0};
    }
}

static bool is_between_pairs(const struct pairs *pairs)
{
    return pairs->lengths_read == 0 && pairs->length_bytes == 0;
}

static enum fcgi_check_state check_begin(const struct record *begin, struct fcgi_verdict *verdict)
{
    if (begin->type != TYPE_BEGIN_REQUEST || begin->content_len != BEGIN_BYTES)
        return FCGI_CHECK_BAD;
    if ((begin->content[0] << 8 | begin->content[1]) != ROLE_RESPONDER)
        return FCGI_CHECK_BAD;
    verdict->id = begin->id;
    verdict->keep = (begin->content[2] & FLAG_KEEP_CONN) != 0;
    return FCGI_CHECK_WHOLE;
}

/* One stream from *at to its empty record. `pairs` NULL: its content is not looked at. */
static enum fcgi_check_state check_stream(const unsigned char *bytes, size_t len, size_t *at,
                                          int type, uint16_t id, size_t max, struct pairs *pairs)
{
    size_t content = 0;
    struct record record;

    for (;;) {
        enum take taken = take_record(bytes, len, *at, &record);
        if (taken == TAKE_BAD)
            return FCGI_CHECK_BAD;
        if (header_is_there(len, *at)) {
            if (record.type == TYPE_ABORT_REQUEST && record.id == id)
                return FCGI_CHECK_ABORT;
            if (record.type != type || record.id != id)
                return FCGI_CHECK_BAD;
            content += record.content_len;
            if (content > max)
                return type == TYPE_PARAMS ? FCGI_CHECK_PARAMS_TOO_LARGE
                                           : FCGI_CHECK_STDIN_TOO_LARGE;
        }
        if (taken == TAKE_MORE)
            return FCGI_CHECK_MORE;
        *at += record.total;
        if (record.content_len == 0)
            return FCGI_CHECK_WHOLE;
        if (pairs != NULL)
            take_pair_bytes(pairs, record.content, record.content_len);
    }
}

static void check_request(const unsigned char *bytes, size_t len, const struct record *begin,
                          const struct fcgi_limits *limits, struct fcgi_verdict *verdict)
{
    struct pairs pairs = {.lengths_read = 0};
    size_t at = begin->total;

    verdict->state = check_begin(begin, verdict);
    if (verdict->state != FCGI_CHECK_WHOLE)
        return;
    verdict->state = check_stream(bytes, len, &at, TYPE_PARAMS, begin->id,
                                  limits->max_params_bytes, &pairs);
    if (verdict->state != FCGI_CHECK_WHOLE)
        return;
    if (!is_between_pairs(&pairs)) {
        verdict->state = FCGI_CHECK_BAD;
        return;
    }
    verdict->state =
        check_stream(bytes, len, &at, TYPE_STDIN, begin->id, limits->max_stdin_bytes, NULL);
    verdict->length = at;
}

void fcgi_check(const unsigned char *bytes, size_t len, const struct fcgi_limits *limits,
                struct fcgi_verdict *verdict)
{
    struct record record = {.type = 0};
    enum take taken = take_record(bytes, len, 0, &record);

    *verdict = (struct fcgi_verdict){.state = FCGI_CHECK_MORE};
    if (taken == TAKE_BAD) {
        verdict->state = FCGI_CHECK_BAD;
        return;
    }
    if (header_is_there(len, 0) && record.id != 0 && record.type != TYPE_BEGIN_REQUEST &&
        record.type != TYPE_ABORT_REQUEST) {
        verdict->state = FCGI_CHECK_BAD;
        return;
    }
    if (taken == TAKE_MORE)
        return;
    verdict->id = record.id;
    verdict->length = record.total;
    if (record.id == 0)
        verdict->state = FCGI_CHECK_MANAGEMENT;
    else if (record.type == TYPE_ABORT_REQUEST)
        verdict->state = FCGI_CHECK_ABORT;
    else
        check_request(bytes, len, &record, limits, verdict);
}

static void put_header(unsigned char *out, int type, uint16_t id, size_t content_len,
                       size_t padding_len)
{
    out[0] = PROTOCOL_VERSION;
    out[1] = (unsigned char)type;
    out[2] = (unsigned char)(id >> 8);
    out[3] = (unsigned char)id;
    out[4] = (unsigned char)(content_len >> 8);
    out[5] = (unsigned char)content_len;
    out[6] = (unsigned char)padding_len;
    out[7] = 0;
}

static bool asks_for(const unsigned char *content, size_t len, const char *name)
{
    return memmem(content, len, name, strlen(name)) != NULL;
}

/* A name is looked for as bytes: a variable that was not asked for does no harm in a reply, and
   each is answered once however often it was asked for. */
static size_t put_values(unsigned char *out, const unsigned char *content, size_t len)
{
    static const char *const values[][2] = {
        {"FCGI_MAX_CONNS", "1024"}, {"FCGI_MAX_REQS", "1024"}, {"FCGI_MPXS_CONNS", "0"}};
    size_t at = 0;

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        size_t name_len = strlen(values[i][0]), value_len = strlen(values[i][1]);
        if (!asks_for(content, len, values[i][0]))
            continue;
        out[at++] = (unsigned char)name_len;
        out[at++] = (unsigned char)value_len;
        memcpy(out + at, values[i][0], name_len);
        memcpy(out + at + name_len, values[i][1], value_len);
        at += name_len + value_len;
    }
    return at;
}

size_t fcgi_management_reply(const unsigned char *record, size_t len,
                             unsigned char out[FCGI_MANAGEMENT_REPLY_BYTES])
{
    memset(out, 0, FCGI_MANAGEMENT_REPLY_BYTES);
    if (record[1] != TYPE_GET_VALUES) {
        put_header(out, TYPE_UNKNOWN_TYPE, 0, 8, 0);
        out[HEADER_BYTES] = record[1];
        return HEADER_BYTES + 8;
    }
    size_t content_len = put_values(out + HEADER_BYTES, record + HEADER_BYTES, len - HEADER_BYTES);
    put_header(out, TYPE_GET_VALUES_RESULT, 0, content_len, 0);
    return HEADER_BYTES + content_len;
}

static uint64_t content_length(const struct fcgi_frame *frame)
{
    return (uint64_t)frame->head_len + frame->body_len;
}

static size_t padding_of(size_t content_len)
{
    return (8 - content_len % 8) % 8;
}

/* Framed bytes of the STDOUT records alone: full ones, then the last with its padding. */
static uint64_t stdout_length(uint64_t content_len)
{
    uint64_t full = content_len / CONTENT_BYTES;
    size_t last = content_len % CONTENT_BYTES;
    uint64_t length = full * RECORD_BYTES;

    return last == 0 ? length : length + HEADER_BYTES + last + padding_of(last);
}

uint64_t fcgi_frame_length(const struct fcgi_frame *frame)
{
    return stdout_length(content_length(frame)) + TRAILER_BYTES;
}

/* Collects pieces; the bytes before `from` of the whole have been cut off already. */
struct pieces {
    struct iovec *iov;
    int count;
    uint64_t skip; /* of the bytes that are added next */
};

static void add_piece(struct pieces *pieces, const void *bytes, size_t len)
{
    if (pieces->skip >= len) {
        pieces->skip -= len;
        return;
    }
    /* sendmsg does not write through iov_base, whose type is shared with recvmsg */
    union {
        const void *read_only;
        void *as_iov;
    } base = {.read_only = (const char *)bytes + pieces->skip};
    pieces->iov[pieces->count].iov_base = base.as_iov;
    pieces->iov[pieces->count].iov_len = len - (size_t)pieces->skip;
    pieces->count++;
    pieces->skip = 0;
}

/* The content from `at` on, `len` bytes of it, out of head and body. */
static void add_content(struct pieces *pieces, const struct fcgi_frame *frame, uint64_t at,
                        size_t len)
{
    if (at < frame->head_len) {
        size_t part = frame->head_len - (size_t)at < len ? frame->head_len - (size_t)at : len;
        add_piece(pieces, frame->head + at, part);
        at += part;
        len -= part;
    }
    if (len > 0)
        add_piece(pieces, frame->body + (at - frame->head_len), len);
}

static void add_trailer(struct pieces *pieces, uint16_t id, unsigned char *scratch)
{
    memset(scratch, 0, TRAILER_BYTES);
    put_header(scratch, TYPE_STDOUT, id, 0, 0);
    /* application status 0 and FCGI_REQUEST_COMPLETE, which is 0 too */
    put_header(scratch + HEADER_BYTES, TYPE_END_REQUEST, id, HEADER_BYTES, 0);
    add_piece(pieces, scratch, TRAILER_BYTES);
}

int fcgi_frame_iov(const struct fcgi_frame *frame, uint64_t from, struct iovec *iov, int max_iov,
                   unsigned char *scratch, size_t scratch_size)
{
    static const unsigned char zeros[8];
    uint64_t content_len = content_length(frame);
    uint64_t stdout_len = stdout_length(content_len);
    /* whole records before `from` are left out by arithmetic, not by walking over them */
    uint64_t record = from < stdout_len ? from / RECORD_BYTES : stdout_len / RECORD_BYTES;
    struct pieces pieces = {.iov = iov, .skip = from - record * RECORD_BYTES};
    const unsigned char *scratch_end = scratch + scratch_size - TRAILER_BYTES;

    if (from >= fcgi_frame_length(frame))
        return 0;
    for (; record * CONTENT_BYTES < content_len; record++) {
        uint64_t at = record * CONTENT_BYTES;
        size_t len = content_len - at < CONTENT_BYTES ? (size_t)(content_len - at) : CONTENT_BYTES;
        if (pieces.count + FCGI_FRAME_MIN_IOV > max_iov || scratch + HEADER_BYTES > scratch_end)
            return pieces.count;
        put_header(scratch, TYPE_STDOUT, frame->id, len, padding_of(len));
        add_piece(&pieces, scratch, HEADER_BYTES);
        scratch += HEADER_BYTES;
        add_content(&pieces, frame, at, len);
        add_piece(&pieces, zeros, padding_of(len));
    }
    add_trailer(&pieces, frame->id, scratch);
    return pieces.count;
}
