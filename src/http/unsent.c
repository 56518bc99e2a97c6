/* SPDX-License-Identifier: BSD-2-Clause */
/* A list of bodies with the number of their clients. Bodies of one length that differ do so early,
   in the ETag before them, so that to compare all of one length costs little. */
#include "config.h"

#include "http/unsent.h"

#include <string.h>
#include <sys/queue.h>

#include "base/mem.h"

struct unsent_body {
    LIST_ENTRY(unsent_body) link;
    struct unsent *unsent;
    const char *bytes;
    size_t len;
    size_t cost; /* bytes of memory */
    size_t clients;
    void *note; /* the caller's */
};

struct unsent {
    LIST_HEAD(, unsent_body) bodies;
    size_t count;
    size_t total;
};

struct unsent *unsent_new(TALLOC_CTX *ctx)
{
    struct unsent *unsent = mem_check(talloc_zero(ctx, struct unsent));

    LIST_INIT(&unsent->bodies);
    return unsent;
}

static struct unsent_body *find(const struct unsent *unsent, const char *bytes, size_t len)
{
    struct unsent_body *body;

    LIST_FOREACH (body, &unsent->bodies, link)
        if (bytes != NULL && body->bytes != NULL && body->len == len &&
            (body->bytes == bytes || memcmp(body->bytes, bytes, len) == 0))
            return body;
    return NULL;
}

struct unsent_body *unsent_keep(struct unsent *unsent, const char *bytes, size_t len, void *shared)
{
    struct unsent_body *body = find(unsent, bytes, len);

    if (body == NULL) {
        body = mem_check(talloc_zero(unsent, struct unsent_body));
        body->unsent = unsent;
        body->len = len;
        if (shared != NULL)
            mem_check(talloc_reference(body, shared));
        body->bytes = shared != NULL ? bytes : mem_check(talloc_memdup(body, bytes, len));
        body->cost = shared != NULL && bytes != NULL ? talloc_get_size(shared) : len;
        unsent->count++;
        unsent->total += body->cost;
        LIST_INSERT_HEAD(&unsent->bodies, body, link);
    }
    body->clients++;
    return body;
}

void unsent_let_go(struct unsent_body *body)
{
    if (--body->clients > 0)
        return;
    body->unsent->count--;
    body->unsent->total -= body->cost;
    LIST_REMOVE(body, link);
    talloc_free(body);
}

const char *unsent_bytes(const struct unsent_body *body)
{
    return body->bytes;
}

void **unsent_note(struct unsent_body *body)
{
    return &body->note;
}

size_t unsent_count(const struct unsent *unsent)
{
    return unsent->count;
}

size_t unsent_total(const struct unsent *unsent)
{
    return unsent->total;
}
