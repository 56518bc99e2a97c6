/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of a request's FastCGI variables are wanted, and what a request says of them. Pure. */
#ifndef LEEWAY_HTTP_VARIABLES_H
#define LEEWAY_HTTP_VARIABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

struct variable {
    const char *name;
    size_t name_len;
    const char *value; /* NULL: the request does not have it */
    size_t value_len;
    char *joined; /* the lines of a list; NULL: there is at most one */
    bool is_list; /* a list, which may come on several header lines (RFC 9110, section 5.3) */
    size_t next;  /* the place of another name of this length, counted from 1; 0: none */
};

enum { VARIABLES_LENGTHS = 64 };

struct variables {
    size_t by_length[VARIABLES_LENGTHS]; /* as `next`; the last one is for all longer names */
    size_t count;
    struct variable *items; /* in the order in which they were added; a name may be there twice */
};

struct variables *variables_new(TALLOC_CTX *ctx);

/* `name` is borrowed. */
void variables_add(struct variables *variables, const char *name, bool is_list);

/* Sets the values from `entries`, NULL-terminated texts "NAME=value", which it borrows. The lines
   of a list are joined in a child of `ctx`. Returns NULL, or the name of one that came twice with
   different values, so that nobody knows which of them is true: the first value of it is kept, and
   is good for nothing but the form of the refusal. */
const char *variables_find(struct variables *variables, char *const *entries, TALLOC_CTX *ctx)
    __attribute__((warn_unused_result));

#endif
