/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection's bytes, one request behind the other: a verdict must be that on any longer run
   of them, and MORE before; a whole request must be one to a simpler reader too; the rest of one
   that is too large must end where it would without limits, in pieces of any size; the reply to
   a management record must be well formed. An input that begins with anything but the
   protocol's version chooses a response instead: it must come out the same in pieces of any
   size, and be the content again. Any input is an answer, too, for a client to read. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/fcgi_client.h"
#include "http/fcgi_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_STREAM = 512, MAX_CONTENT = 1 << 18 };

static bool same_verdict(const struct fcgi_verdict *a, const struct fcgi_verdict *b)
{
    return a->state == b->state && a->length == b->length && a->id == b->id && a->keep == b->keep;
}

static void must(bool holds)
{
    if (!holds)
        abort();
}

static size_t read_u16(const uint8_t *bytes)
{
    return (size_t)bytes[0] << 8 | bytes[1];
}

/* Whether pairs of name and value fill the bytes exactly; `count` is how many they are. */
static bool pairs_fill(const uint8_t *at, const uint8_t *end, size_t *count)
{
    for (*count = 0; at < end; ++*count) {
        size_t left = 0;
        for (int i = 0; i < 2; i++) {
            bool wide = at < end && *at >= 0x80;
            if (end - at < (wide ? 4 : 1))
                return false;
            left += wide ? (read_u16(at) & 0x7fff) << 16 | read_u16(at + 2) : *at;
            at += wide ? 4 : 1;
        }
        if (left > (size_t)(end - at))
            return false;
        at += left;
    }
    return true;
}

/* Takes a whole request apart once more, all of it at hand. */
static void check_whole(const uint8_t *bytes, const struct fcgi_verdict *verdict)
{
    uint8_t params[MAX_STREAM];
    size_t len = 0, count, at = 0;
    int type = 0;

    while (at < verdict->length) {
        const uint8_t *record = bytes + at;
        size_t content_len = read_u16(record + 4);
        must(record[0] == 1 && record[1] >= type && read_u16(record + 2) == verdict->id);
        type = record[1];
        if (type == 4)
            memcpy(params + len, record + 8, content_len);
        len += type == 4 ? content_len : 0;
        at += 8 + content_len + record[6];
    }
    must(at == verdict->length && type == 5 && verdict->id != 0);
    must(pairs_fill(params, params + len, &count));
}

static void check_management(const uint8_t *record, size_t len)
{
    unsigned char reply[FCGI_MANAGEMENT_REPLY_BYTES];
    size_t reply_len = fcgi_management_reply(record, len, reply, sizeof reply);
    size_t count = 0;

    must(reply_len >= 8 && reply_len <= sizeof reply && reply_len % 8 == 0);
    must(reply[0] == 1 && reply[1] == (record[1] == 9 ? 10 : 11) && read_u16(reply + 2) == 0);
    must(reply_len == 8 + read_u16(reply + 4) + reply[6]);
    if (reply[1] == 10)
        must(pairs_fill(reply + 8, reply + 8 + read_u16(reply + 4), &count) && count <= 3);
    else
        must(reply_len == 16 && reply[8] == record[1]);
}

/* Limits that do not bite change nothing else. */
static void check_unlimited(const uint8_t *data, size_t size, const struct fcgi_verdict *verdict)
{
    static const struct fcgi_limits none = {UINT64_MAX, UINT64_MAX};
    struct fcgi_verdict unlimited;

    fcgi_check(data, size, &none, &unlimited);
    must(unlimited.state != FCGI_CHECK_PARAMS_TOO_LARGE &&
         unlimited.state != FCGI_CHECK_STDIN_TOO_LARGE);
    must(verdict->state == FCGI_CHECK_PARAMS_TOO_LARGE ||
         verdict->state == FCGI_CHECK_STDIN_TOO_LARGE || same_verdict(verdict, &unlimited));
}

/* Returns where the rest has ended, or the next record stops making sense. */
static size_t pass_rest(const uint8_t *data, size_t size, size_t step,
                        const struct fcgi_verdict *verdict, enum fcgi_rest_state *state)
{
    struct fcgi_rest rest;
    size_t at = verdict->length, passed;

    fcgi_rest_begin(&rest, verdict);
    do {
        size_t len = size - at < step ? size - at : step;
        *state = fcgi_rest_pass(&rest, data + at, len, &passed);
        must(passed <= len && (*state != FCGI_REST_MORE || passed == len));
        at += passed;
    } while (*state == FCGI_REST_MORE && at < size);
    return at;
}

/* Returns where the next request can begin; 0: none can. */
static size_t check_rest(const uint8_t *data, size_t size, const struct fcgi_verdict *verdict)
{
    static const struct fcgi_limits none = {UINT64_MAX, UINT64_MAX};
    static const enum fcgi_state same[] = {
        [FCGI_REST_MORE] = FCGI_CHECK_MORE,
        [FCGI_REST_END] = FCGI_CHECK_WHOLE,
        [FCGI_REST_ABORT] = FCGI_CHECK_ABORT,
        [FCGI_REST_BAD] = FCGI_CHECK_BAD,
    };
    enum fcgi_rest_state state, piecewise;
    struct fcgi_verdict unlimited;
    size_t at = pass_rest(data, size, size, verdict, &state);

    must(pass_rest(data, size, data[size - 1] % 16 + 1, verdict, &piecewise) == at);
    must(piecewise == state);
    fcgi_check(data, size, &none, &unlimited);
    /* the pairs of what is passed over are not looked at */
    if (unlimited.state == FCGI_CHECK_BAD && verdict->state == FCGI_CHECK_PARAMS_TOO_LARGE)
        return 0;
    must(unlimited.state == same[state]);
    must(unlimited.length == (state == FCGI_REST_END || state == FCGI_REST_ABORT ? at : 0));
    return state == FCGI_REST_END ? at : 0;
}

/* Bytes that arrive one by one, and faster behind a verdict. Returns how many of them are behind a
   verdict that another request or record can follow; 0: none can. */
static size_t check_arrival(const uint8_t *data, size_t size)
{
    static const struct fcgi_limits limits = {MAX_STREAM, 256};
    struct fcgi_verdict last = {.state = FCGI_CHECK_MORE}, verdict;

    for (size_t len = 0, step = 1; step > 0; len += step) {
        fcgi_check(data, len, &limits, &verdict);
        must(last.state == FCGI_CHECK_MORE || same_verdict(&last, &verdict));
        must(verdict.length <= len);
        last = verdict;
        step = last.state == FCGI_CHECK_MORE && len < size ? 1 : (size - len + 3) / 4;
    }
    check_unlimited(data, size, &last);
    if (last.state == FCGI_CHECK_PARAMS_TOO_LARGE || last.state == FCGI_CHECK_STDIN_TOO_LARGE)
        return check_rest(data, size, &last);
    if (last.state == FCGI_CHECK_WHOLE)
        check_whole(data, &last);
    else if (last.state == FCGI_CHECK_MANAGEMENT)
        check_management(data, last.length);
    else
        must((last.length > 0) == (last.state == FCGI_CHECK_ABORT));
    return last.length;
}

static void check_connection(const uint8_t *data, size_t size)
{
    size_t taken = 1;

    for (size_t at = 0; at < size && taken > 0; at += taken)
        taken = check_arrival(data + at, size - at);
}

/* Appends what the frame says lies at `from`, at most `step` bytes; returns how many. */
static size_t copy_some(const struct fcgi_frame *frame, uint64_t from, size_t step, int max_iov,
                        uint8_t *out)
{
    struct iovec iov[4];
    unsigned char scratch[FCGI_FRAME_SCRATCH_MIN];
    int count = fcgi_frame_iov(frame, from, iov, max_iov, scratch, sizeof scratch);
    size_t copied = 0;

    for (int i = 0; i < count && copied < step; i++) {
        size_t len = iov[i].iov_len < step - copied ? iov[i].iov_len : step - copied;
        memcpy(out + copied, iov[i].iov_base, len);
        copied += len;
    }
    return copied;
}

static void frame_in_steps(const struct fcgi_frame *frame, size_t step, int max_iov, uint8_t *out)
{
    uint64_t length = fcgi_frame_length(frame);
    uint64_t at = 0;

    while (at < length) {
        size_t room = length - at < step ? (size_t)(length - at) : step;
        size_t copied = copy_some(frame, at, room, max_iov, out + at);
        must(copied > 0);
        at += copied;
    }
    must(copy_some(frame, at, 1, max_iov, out) == 0);
}

/* Takes the records of a response apart again; `content` has room for them all. */
static void check_response(const struct fcgi_frame *frame, const uint8_t *bytes, size_t length,
                           uint8_t *content)
{
    static const uint8_t end[24] = {1, 6, 0, 1, 0, 0, 0, 0, 1, 3, 0, 1, 0, 8};
    size_t at = 0, done = 0;

    while (length - at > sizeof end) {
        size_t len = read_u16(bytes + at + 4);
        must(bytes[at] == 1 && bytes[at + 1] == 6 && read_u16(bytes + at + 2) == frame->id);
        must(len > 0 && (len + bytes[at + 6]) % 8 == 0 && len <= length - at - sizeof end);
        memcpy(content + done, bytes + at + 8, len);
        done += len;
        at += 8 + len + bytes[at + 6];
        must(at <= length);
    }
    must(length - at == sizeof end && memcmp(bytes + at, end, sizeof end) == 0);
    must(done == frame->head_len + frame->body_len &&
         memcmp(content, frame->head, frame->head_len) == 0 &&
         memcmp(content + frame->head_len, frame->body, frame->body_len) == 0);
}

static const char *shared_content(void)
{
    static char content[MAX_CONTENT];

    for (size_t i = 0; content[1] == 0 && i < sizeof content; i++)
        content[i] = (char)(i ^ i >> 8);
    return content;
}

/* The input chooses the sizes; the content is always the same. */
static void check_frame(const uint8_t *data, size_t size)
{
    const char *content = shared_content();
    struct fcgi_frame frame = {.id = 1, .head = content, .body = content + MAX_CONTENT / 2};
    uint32_t words[3];

    if (size < sizeof words)
        return;
    memcpy(words, data, sizeof words);
    frame.head_len = words[0] % (MAX_CONTENT / 2);
    frame.body_len = words[1] % (MAX_CONTENT / 2);
    size_t length = (size_t)fcgi_frame_length(&frame);
    uint8_t *whole = malloc(length), *pieces = malloc(length);
    must(whole != NULL && pieces != NULL);
    frame_in_steps(&frame, SIZE_MAX, 4, whole);
    frame_in_steps(&frame, words[2] % 70000 + 64, (int)(words[2] % 4) + 1, pieces);
    must(memcmp(whole, pieces, length) == 0);
    check_response(&frame, whole, length, pieces);
    free(whole);
    free(pieces);
}

/* What a server says to a client, in whatever bytes: MORE until it is whole, and never more than
   what came. */
static void check_answer(const uint8_t *data, size_t size)
{
    struct fcgi_answer answer;
    char *room = malloc(size + 1);
    enum fcgi_answered whole;

    must(room != NULL);
    whole = fcgi_client_read(data, size, room, &answer);
    if (whole == FCGI_ANSWER_WHOLE) {
        must(answer.status >= 100 && answer.status <= 999);
        must(answer.body >= room && answer.body + answer.body_len <= room + size);
    }
    for (size_t len = 0; whole == FCGI_ANSWER_MORE && len < size; len++)
        must(fcgi_client_read(data, len, room, &answer) == FCGI_ANSWER_MORE);
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_answer(data, size < 1024 ? size : 1024);
    /* every length is tried, so that long inputs would only be slow */
    check_connection(data, size < 1024 ? size : 1024);
    if (size > 0 && data[0] != 1)
        check_frame(data + 1, size - 1);
    return 0;
}
