/* SPDX-License-Identifier: BSD-2-Clause */
/* Gathered writes, and what is kept between them. */
#include "config.h"

#include "http/outgoing.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    IOV_PIECES = 64,
    HEADER_BYTES = 1024,
};

void outgoing_begin(struct outgoing *outgoing, uint16_t id, const struct answer_bytes *bytes)
{
    outgoing->frame = (struct fcgi_frame){
        .id = id,
        .head = bytes->head,
        .head_len = bytes->head_len,
        .body = bytes->body,
        .chunks = bytes->chunks,
        .body_len = bytes->body_len,
    };
    outgoing->written = 0;
    outgoing->chunks = bytes->chunks;
}

/* How much of the body has been sent, at least. */
static size_t sent_of_body(const struct outgoing *outgoing)
{
    uint64_t around = fcgi_frame_length(&outgoing->frame) - outgoing->frame.body_len;

    return outgoing->written > around ? (size_t)(outgoing->written - around) : 0;
}

/* Leaves out what is beyond `limit` bytes; returns how many are left. */
static size_t limit_message(struct msghdr *message, size_t limit)
{
    size_t bytes = 0, count = 0;

    while (count < message->msg_iovlen && bytes < limit) {
        struct iovec *piece = &message->msg_iov[count++];
        if (piece->iov_len > limit - bytes)
            piece->iov_len = limit - bytes;
        bytes += piece->iov_len;
    }
    message->msg_iovlen = count;
    return bytes;
}

int outgoing_send(struct outgoing *outgoing, int fd, size_t limit)
{
    uint64_t length = fcgi_frame_length(&outgoing->frame);
    uint64_t pause = outgoing->written + limit;
    struct iovec iov[IOV_PIECES];
    unsigned char headers[HEADER_BYTES];

    while (outgoing->written < length && outgoing->written < pause) {
        struct msghdr message = {.msg_iov = iov};
        message.msg_iovlen = (size_t)fcgi_frame_iov(&outgoing->frame, outgoing->written, iov,
                                                    IOV_PIECES, headers, sizeof headers);
        size_t bytes = limit_message(&message, (size_t)(pause - outgoing->written));
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent == -1 && errno == EINTR)
            continue;
        if (sent == -1)
            return errno == EAGAIN ? 0 : -1;
        outgoing->written += (uint64_t)sent;
        if (outgoing->chunks != NULL)
            chunks_drop(outgoing->chunks, sent_of_body(outgoing));
        if ((size_t)sent < bytes)
            return 0;
    }
    return outgoing->written == length;
}

void outgoing_keep(struct outgoing *outgoing, struct unsent *unsent, void *shared)
{
    struct fcgi_frame *frame = &outgoing->frame;

    outgoing->begun_us = clock_monotonic_us();
    outgoing->head = mem_check(talloc_memdup(unsent, frame->head, frame->head_len));
    frame->head = outgoing->head;
    if (frame->body_len == 0)
        return;
    outgoing->body = unsent_keep(unsent, frame->body, frame->body_len, shared);
    frame->body = unsent_bytes(outgoing->body);
}

/* One that has only just been begun has filled a socket's buffer in no time. */
bool outgoing_is_slower(const struct outgoing *a, const struct outgoing *b, int64_t now_us)
{
    double a_us = (double)(now_us - a->begun_us + 1), b_us = (double)(now_us - b->begun_us + 1);

    return (double)a->written * b_us < (double)b->written * a_us;
}

void outgoing_end(struct outgoing *outgoing)
{
    TALLOC_FREE(outgoing->head);
    if (outgoing->body != NULL)
        unsent_let_go(outgoing->body);
    outgoing->body = NULL;
}
