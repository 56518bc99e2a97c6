/* SPDX-License-Identifier: BSD-2-Clause */
/* FastCGI 1.0 records: whether bytes are a whole and well-formed request, the answers to
   management records, and the framing of a response. Pure: no socket is touched. */
#ifndef LEEWAY_HTTP_FCGI_RECORD_H
#define LEEWAY_HTTP_FCGI_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/chunks.h"

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
    /* WHOLE, MANAGEMENT, ABORT: bytes it takes up, padding included. PARAMS_TOO_LARGE: of
       BEGIN_REQUEST alone; STDIN_TOO_LARGE: of BEGIN_REQUEST and the PARAMS, which are whole and
       well-formed. Else 0. */
    size_t length;
    uint16_t id; /* 0 until a request begins, or is aborted */
    bool keep;   /* the web server wants to keep the connection (FCGI_KEEP_CONN) */
};

const char *fcgi_state_name(enum fcgi_state state);

/* Judges the bytes from the start of a connection, or from behind the request before.
   A request is BEGIN_REQUEST for a responder, then PARAMS and then STDIN of the same id,
   each ended by an empty record, with nothing between; the names and values fill the
   PARAMS exactly. What comes behind a request is not looked at. Bytes that MORE was said
   of are judged again from their start; the cost is that of reading the PARAMS twice. */
void fcgi_check(const unsigned char *bytes, size_t len, const struct fcgi_limits *limits,
                struct fcgi_verdict *verdict);

/* The rest of a request that is too large, to be passed over without being kept: what comes behind
   the `length` bytes of its verdict, up to the end of its STDIN. Bytes may come in pieces that end
   anywhere. Plain: it needs no freeing. */
enum fcgi_rest_state {
    FCGI_REST_MORE,  /* all bytes were passed over, and it has not ended */
    FCGI_REST_END,   /* the next request may follow */
    FCGI_REST_ABORT, /* it has ended by ABORT_REQUEST */
    FCGI_REST_BAD,   /* nothing that follows can mend it */
};

struct fcgi_rest {
    uint16_t id;
    bool in_stdin;               /* the PARAMS have ended */
    enum fcgi_rest_state behind; /* what is to be said behind the present record */
    size_t record_left;          /* its content and padding that are still to come */
    unsigned char header[8];     /* of the next record, */
    size_t header_len;           /* as far as it has come */
};

/* `verdict` is PARAMS_TOO_LARGE or STDIN_TOO_LARGE. */
void fcgi_rest_begin(struct fcgi_rest *rest, const struct fcgi_verdict *verdict);

/* *passed: how many of the bytes belong to the request; all of them for MORE. Not to be called
   again once it has not been MORE. */
enum fcgi_rest_state fcgi_rest_pass(struct fcgi_rest *rest, const unsigned char *bytes, size_t len,
                                    size_t *passed);

/* The empty STDIN record by which a request without a body ends. */
enum { FCGI_STDIN_END_BYTES = 8 };
void fcgi_stdin_end(uint16_t id, unsigned char out[FCGI_STDIN_END_BYTES]);

enum { FCGI_MANAGEMENT_REPLY_BYTES = 128 };

/* The reply to a record that fcgi_check called MANAGEMENT: GET_VALUES_RESULT with those
   values asked for that there are, each once, or UNKNOWN_TYPE. Returns its length; `size`
   is at least FCGI_MANAGEMENT_REPLY_BYTES. */
size_t fcgi_management_reply(const unsigned char *record, size_t len, unsigned char *out,
                             size_t size);

/* A response whose bytes are `head` followed by `body`, or by `chunks` unless they are NULL; all
   are borrowed. */
struct fcgi_frame {
    uint16_t id;
    const char *head;
    size_t head_len;
    const char *body;
    const struct chunks *chunks;
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
