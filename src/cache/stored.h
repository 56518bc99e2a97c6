/* SPDX-License-Identifier: BSD-2-Clause */
/* A stored response and the forms in which it can be sent: as it is stored, and as it is made from
   that for a client that accepts it only otherwise. */
#ifndef LEEWAY_CACHE_STORED_H
#define LEEWAY_CACHE_STORED_H

#include "cache/entry.h"

/* One form, in one piece. Borrowed from the stored response. */
struct form {
    const struct coding *coding; /* NULL: none */
    const char *head;            /* header lines and the empty line */
    size_t head_len;
    size_t body_len; /* right behind them */
    void *bytes;     /* the talloc chunk that they are in, which others may refer to */
    char etag[ENTRY_ETAG_BYTES + 1]; /* of a form that was made; see entry_etag() for the other */
};

struct stored {
    struct cache_entry entry;
    void *bytes;        /* the talloc chunk that the entry points into; NULL: there is none */
    struct form *other; /* NULL: was not needed yet; a child of `bytes` */
};

/* As it is stored. */
void stored_form(const struct stored *stored, struct form *form);

/* Whether it has a form without a coding: what is stored in one has to decode to the length that it
   states. What does not is logged. */
bool stored_is_sound(struct stored *stored) __attribute__((warn_unused_result));

/* The form without a coding. It is sound. */
void stored_plain_form(struct stored *stored, struct form *form);

/* The form in `coding` of what is stored without one; it is made whatever it saves. */
void stored_coded_form(struct stored *stored, const struct coding *coding, struct form *form);

/* Nobody asks for another form any more. One that is still being sent stays for that alone: what is
   kept of the response for the clients of one form has not the other one with it. */
void stored_drop_other(struct stored *stored);

#endif
