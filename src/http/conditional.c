/* SPDX-License-Identifier: BSD-2-Clause */
/* Entity-tags are read off the field one by one and compared in place. */
#include "config.h"

#include "http/conditional.h"

#include <string.h>

static const char *skip_spaces(const char *at)
{
    return at + strspn(at, " \t");
}

/* Weak comparison does not look at the prefix. */
static const char *skip_weak(const char *at)
{
    return strncmp(at, "W/", 2) == 0 ? at + 2 : at;
}

/* Bytes of the opaque-tag at `at` (RFC 9110, section 8.8.3), both quotes
   included; 0 if there is none. */
static size_t opaque_bytes(const char *at)
{
    size_t len = 1;

    if (at[0] != '"')
        return 0;
    for (; at[len] != '"'; len++) {
        unsigned char byte = (unsigned char)at[len];
        if (byte <= ' ' || byte == 0x7f)
            return 0;
    }
    return len + 1;
}

/* Whether `rest`, what stands behind our opaque-tag's text in another one, is a web server's mark
   of a coding and the closing quote. */
static bool is_coding_mark(const char *rest, size_t len)
{
    static const char *const names[] = {"gzip", "br", "zstd", "deflate"};

    if (len < 2 || (rest[0] != '-' && rest[0] != ';') || rest[len - 1] != '"')
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == len - 2 && memcmp(rest + 1, names[i], len - 2) == 0)
            return true;
    return false;
}

static bool is_same(const char *theirs, size_t len, const char *ours, size_t ours_len)
{
    size_t text_len = ours_len - 1; /* without the closing quote */

    if (len < ours_len || memcmp(theirs, ours, text_len) != 0)
        return false;
    return len == ours_len || is_coding_mark(theirs + text_len, len - text_len);
}

bool conditional_none_match(const char *if_none_match, const char *etag)
{
    if (if_none_match == NULL)
        return false;

    const char *at = skip_spaces(if_none_match);
    if (*at == '*')
        return *skip_spaces(at + 1) == '\0';

    const char *ours = skip_weak(etag);
    size_t ours_len = opaque_bytes(ours);
    for (;;) {
        at = skip_weak(at + strspn(at, " \t,"));
        size_t len = opaque_bytes(at);
        if (len == 0)
            return false;
        if (is_same(at, len, ours, ours_len))
            return true;
        at = skip_spaces(at + len);
        if (*at != ',')
            return false;
    }
}
