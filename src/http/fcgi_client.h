/* SPDX-License-Identifier: BSD-2-Clause */
/* FastCGI as a web server speaks it, as far as one question needs it. Pure: no socket is touched.
 */
#ifndef LEEWAY_HTTP_FCGI_CLIENT_H
#define LEEWAY_HTTP_FCGI_CLIENT_H

#include <stddef.h>

#include "base/buf.h"

/* Appends a GET request for `uri`, which is at most 32 KiB long, as from this machine. The
   connection ends with the answer. */
void fcgi_client_ask(struct buf *out, const char *uri);

struct fcgi_answer {
    int status;       /* 100 to 999 */
    const char *body; /* in what was read into */
    size_t body_len;
};

enum fcgi_answered {
    FCGI_ANSWER_MORE,  /* good as far as it goes */
    FCGI_ANSWER_WHOLE, /* *answer */
    FCGI_ANSWER_BAD,   /* what the other side says is no answer */
};

/* Reads the answer to that request from the start of what came. As leeway's do, it has to say its
   status and its length: one without could be torn, or the default of a program that has said
   nothing. `room` has at least `len` bytes. */
enum fcgi_answered fcgi_client_read(const unsigned char *bytes, size_t len, char *room,
                                    struct fcgi_answer *answer);

#endif
