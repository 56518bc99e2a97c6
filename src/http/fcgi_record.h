/* SPDX-License-Identifier: BSD-2-Clause */
/* FastCGI 1.0 records: whether bytes are a whole and well-formed request, the answers to
   management records, and the framing of a response. Pure: no socket is touched. */
#ifndef LEEWAY_HTTP_FCGI_RECORD_H
#define LEEWAY_HTTP_FCGI_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Sums over the records of one stream, headers and padding included but the empty record
   that ends it left out. A request is never more than 1 KiB longer than both together. */
struct fcgi_limits {
    uint64_t max_params_bytes;
    uint64_t max_stdin_bytes;
};

enum fcgi_state {
    FCGI_CHECK_MORE,       /* good as far as it goes; nothing is wrong yet with no bytes at all */
    FCGI_CHECK_WHOLE,      /* one complete request */
    FCGI_CHECK_MANAGEMENT, /* one complete management record, before any request */
    FCGI_CHECK_ABORT,      /* ends with ABORT_REQUEST, of the request begun or of an earlier one */
    FCGI_CHECK_PARAMS_TOO_LARGE,
    FCGI_CHECK_STDIN_TOO_LARGE,
    FCGI_CHECK_BAD, /* nothing that follows can mend it */
};

struct fcgi_verdict {
    enum fcgi_state state;
    size_t length; /* WHOLE, MANAGEMENT, ABORT: bytes it takes up, padding included; else 0 */
    uint16_t id;   /* 0 until a request begins, or is aborted */
    bool keep;     /* the web server wants to keep the connection (FCGI_KEEP_CONN) */
};

const char *fcgi_state_name(enum fcgi_state state);

/* Judges the bytes from the start of a connection, or from behind the request before.
   A request is BEGIN_REQUEST for a responder, then PARAMS and then STDIN of the same id,
   each ended by an empty record, with nothing between; the names and values fill the
   PARAMS exactly. What comes behind a request is not looked at. Bytes that MORE was said
   of are judged again from their start; the cost is that of reading the PARAMS twice. */
void fcgi_check(const unsigned char *bytes, size_t len, const struct fcgi_limits *limits,
                struct fcgi_verdict *verdict);

enum { FCGI_MANAGEMENT_REPLY_BYTES = 128 };

/* The reply to a record that fcgi_check called MANAGEMENT: GET_VALUES_RESULT with those
   values asked for that there are, each once, or UNKNOWN_TYPE. Returns its length; `size`
   is at least FCGI_MANAGEMENT_REPLY_BYTES. */
size_t fcgi_management_reply(const unsigned char *record, size_t len, unsigned char *out,
                             size_t size);

/* A response whose bytes are `head` followed by `body`; both are borrowed. */
struct fcgi_frame {
    uint16_t id;
    const char *head;
    size_t head_len;
    const char *body;
    size_t body_len;
};

/* Bytes on the wire: STDOUT records, the empty one, END_REQUEST. */
uint64_t fcgi_frame_length(const struct fcgi_frame *frame);

enum { FCGI_FRAME_SCRATCH_MIN = 32 };

/* Describes the bytes from position `from` on, and returns the number of pieces: 0 only
   behind the end. They may stop short of the end when `max_iov` (at least 1) or `scratch`
   (at least FCGI_FRAME_SCRATCH_MIN) is used up: send them, add what was sent to `from`,
   ask again. The pieces point into the frame and into `scratch`. */
int fcgi_frame_iov(const struct fcgi_frame *frame, uint64_t from, struct iovec *iov, int max_iov,
                   unsigned char *scratch, size_t scratch_size);

#endif
