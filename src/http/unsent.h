/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process keeps of answers that have not been sent to their end: long ones, and those whose
   clients are slow to take them. Equal bodies are kept once, whoever they came from: a crowd that
   is slow to take one response costs what one client does. */
#ifndef LEEWAY_HTTP_UNSENT_H
#define LEEWAY_HTTP_UNSENT_H

#include <stddef.h>
#include <talloc.h>

struct unsent;
struct unsent_body;

struct unsent *unsent_new(TALLOC_CTX *ctx);

/* Keeps `len` bytes, at least one, until unsent_let_go(). `shared` NULL: they are copied; else the
   talloc chunk that they lie in, which is kept by a reference, and counts as a whole. `bytes` NULL:
   they lie in chunks, which `shared` is; they are not compared with others. */
struct unsent_body *unsent_keep(struct unsent *unsent, const char *bytes, size_t len, void *shared);
void unsent_let_go(struct unsent_body *body);

const char *unsent_bytes(const struct unsent_body *body);

/* Room for whoever compares bodies to note something of this one; NULL at first. */
void **unsent_note(struct unsent_body *body);

/* Of all that is kept, each once: bodies, and bytes. */
size_t unsent_count(const struct unsent *unsent);
size_t unsent_total(const struct unsent *unsent);

#endif
