/* SPDX-License-Identifier: BSD-2-Clause */
/* URL patterns as text: "/users/{id}/profile". */
#ifndef LEEWAY_CONFIG_PATTERN_H
#define LEEWAY_CONFIG_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

struct pattern_segment {
    const char *text; /* without the braces of a {name}; not NUL-terminated */
    size_t len;
    bool is_name;
};

/* Walks the segments. *cursor begins at the pattern and moves on. false: no more. */
bool pattern_next(const char **cursor, struct pattern_segment *segment);

/* NULL, or a sentence about what is wrong; a child of `ctx`. */
const char *pattern_problem(TALLOC_CTX *ctx, const char *pattern);

/* The same for a plain path, which has no {names}. */
const char *pattern_path_problem(TALLOC_CTX *ctx, const char *path);

bool pattern_has_name(const char *pattern, const char *name);

/* "/users/{id}/profile" is named "users.id.profile", "/" is "root". */
char *pattern_route_name(TALLOC_CTX *ctx, const char *pattern);

#endif
