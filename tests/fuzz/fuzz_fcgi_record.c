/* SPDX-License-Identifier: BSD-2-Clause */
/* A verdict on bytes must be that on any longer run of them, and MORE before; a management
   reply must stay in its buffer; a frame must come out the same in pieces of any size. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/fcgi_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_verdict(const struct fcgi_verdict *a, const struct fcgi_verdict *b)
{
    return a->state == b->state && a->length == b->length && a->id == b->id && a->keep == b->keep;
}

static void check_verdicts(const uint8_t *data, size_t size)
{
    static const struct fcgi_limits limits = {512, 256};
    struct fcgi_verdict last = {.state = FCGI_CHECK_MORE}, verdict;

    for (size_t len = 0; len <= size; len++) {
        fcgi_check(data, len, &limits, &verdict);
        if (last.state != FCGI_CHECK_MORE && !same_verdict(&last, &verdict))
            abort();
        if (verdict.length > len)
            abort();
        last = verdict;
    }
    if (last.state == FCGI_CHECK_MANAGEMENT) {
        unsigned char reply[FCGI_MANAGEMENT_REPLY_BYTES];
        size_t len = fcgi_management_reply(data, last.length, reply, sizeof reply);
        if (len < 8 || len > sizeof reply || len % 8 != 0)
            abort();
    }
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
        if (copied == 0)
            abort();
        at += copied;
    }
    if (copy_some(frame, at, 1, max_iov, out) != 0)
        abort();
}

/* The input chooses the sizes; the content is static. */
static void check_frame(const uint8_t *data, size_t size)
{
    static char content[1 << 18];
    struct fcgi_frame frame = {.id = 1, .head = content, .body = content + sizeof content / 2};
    uint32_t words[3];

    if (size < sizeof words)
        return;
    memcpy(words, data, sizeof words);
    frame.head_len = words[0] % (sizeof content / 2);
    frame.body_len = words[1] % (sizeof content / 2);
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)(i ^ i >> 8);
    size_t length = (size_t)fcgi_frame_length(&frame);
    uint8_t *whole = malloc(length), *pieces = malloc(length);
    if (whole == NULL || pieces == NULL)
        abort();
    frame_in_steps(&frame, SIZE_MAX, 4, whole);
    frame_in_steps(&frame, words[2] % 70000 + 64, (int)(words[2] % 4) + 1, pieces);
    if (memcmp(whole, pieces, length) != 0)
        abort();
    free(whole);
    free(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* every length is tried, so that long inputs would only be slow */
    check_verdicts(data, size < 1024 ? size : 1024);
    check_frame(data, size);
    return 0;
}
