/* SPDX-License-Identifier: BSD-2-Clause */
/* The ways to answer a request. Each ends it: the request, and a visit with it, is
   gone afterwards. */
#ifndef LEEWAY_APP_RESPOND_H
#define LEEWAY_APP_RESPOND_H

#include "app/visit.h"
#include "cache/answer.h"
#include "cache/stored.h"

/* A response of a route: `row` and its fields choose the caching headers. It is sent in the form
   that the client accepts, with 304 and HEAD seen to. respond_can_send() has been asked before. */
void respond_stored(struct visit *visit, struct stored *stored, const struct answer *answer);

/* Makes the form that this client needs, if it is not there: that of a large response takes longer
   than the write is allowed for, so that its age is judged after this. false: it would have to be
   decoded, and does not decode. */
bool respond_can_send(const struct visit *visit, struct stored *stored)
    __attribute__((warn_unused_result));

/* 406: there is no form that the client accepts (RFC 9110, section 12.5.3). */
void respond_not_acceptable(struct visit *visit);

/* A problem document with no-store, for a failure on a known route. A 503, and what
   another's failure settled (`shared_failure`), carry Retry-After: 1 or 2. `detail` NULL: the usual
   sentence for the status; one of its own is told in full, and not to be asked for again. */
void respond_failure(struct visit *visit, int status, const char *detail, bool shared_failure);

/* 429, for a client that has started as many queries as it may for `wait_us` from now. */
void respond_rationed(struct visit *visit, int64_t wait_us);

/* The same before a route is known. `detail` may be NULL. */
void respond_problem(struct request *request, int status, const char *detail);

/* 405 and the answer to OPTIONS. */
void respond_allowed_methods(struct request *request, int status);

/* A body that is never cached. */
void respond_text_as(struct request *request, int status, const char *content_type,
                     const char *text, size_t len);

/* The same with 200. What is not taken of the text at once is kept by a reference. */
void respond_long_text(struct request *request, const char *content_type, struct chunks *text);

#endif
