/* SPDX-License-Identifier: BSD-2-Clause */
/* FastCGI records (specification 1.0, sections 3 to 5): what a run of bytes from a web
   server amounts to, and the records of an answer. Pure. */
#ifndef LEEWAY_HTTP_FCGI_RECORD_H
#define LEEWAY_HTTP_FCGI_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct fcgi_limits {
    size_t max_params_bytes; /* content of all PARAMS records */
    size_t max_stdin_bytes;
};

enum fcgi_check_state {
    FCGI_CHECK_MORE,       /* well-formed so far, not complete */
    FCGI_CHECK_WHOLE,      /* one responder request, with all of PARAMS and STDIN */
    FCGI_CHECK_MANAGEMENT, /* one record of id 0 */
    FCGI_CHECK_ABORT,      /* one ABORT_REQUEST record */
    FCGI_CHECK_PARAMS_TOO_LARGE,
    FCGI_CHECK_STDIN_TOO_LARGE,
    FCGI_CHECK_BAD, /* anything else; known as early as it can be */
};

struct fcgi_verdict {
    enum fcgi_check_state state;
    size_t length; /* WHOLE, MANAGEMENT, ABORT: bytes from the start */
    uint16_t id;   /* WHOLE, ABORT, *_TOO_LARGE */
    bool keep;     /* the web server wants to keep the connection */
};

/* Judges the start of `bytes`. A WHOLE request has one BEGIN_REQUEST, then only PARAMS, then only
   STDIN of its id, each ended by an empty record, and its name-value pairs fill PARAMS exactly. */
void fcgi_check(const unsigned char *bytes, size_t len, const struct fcgi_limits *limits,
                struct fcgi_verdict *verdict);

enum { FCGI_MANAGEMENT_REPLY_BYTES = 128 };

/* The reply to a record that fcgi_check called MANAGEMENT: GET_VALUES_RESULT, or UNKNOWN_TYPE
   (section 4). Bytes written to `out`. */
size_t fcgi_management_reply(const unsigned char *record, size_t len,
                             unsigned char out[FCGI_MANAGEMENT_REPLY_BYTES]);

/* An answer: head and body as STDOUT records of at most 65528 bytes, the end of STDOUT, and
   END_REQUEST. All pointers are borrowed. */
struct fcgi_frame {
    uint16_t id;
    const char *head;
    size_t head_len;
    const char *body;
    size_t body_len;
};

/* Bytes of the whole framed answer. */
uint64_t fcgi_frame_length(const struct fcgi_frame *frame);

enum { FCGI_FRAME_MIN_IOV = 5, FCGI_FRAME_MIN_SCRATCH = 40 };

/* The pieces to be sent from position `from` on, as many as fit into `iov` (at least
   FCGI_FRAME_MIN_IOV) and `scratch` (record headers; at least FCGI_FRAME_MIN_SCRATCH bytes).
   Returns their number; 0 only at the end. */
int fcgi_frame_iov(const struct fcgi_frame *frame, uint64_t from, struct iovec *iov, int max_iov,
                   unsigned char *scratch, size_t scratch_size);

#endif
