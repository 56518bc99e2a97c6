/* SPDX-License-Identifier: BSD-2-Clause */
/* Well-formedness of UTF-8 after the table of RFC 3629, section 4. */
#include "config.h"

#include "base/utf8.h"

#include <stdbool.h>

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the character at `s`, or 0 if it is malformed. */
static size_t char_bytes(const unsigned char *s, size_t left)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t bytes;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    if (s[0] < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (s[0] < forms[i].first_low || s[0] > forms[i].first_high)
            continue;
        if (left < forms[i].bytes || s[1] < forms[i].second_low || s[1] > forms[i].second_high)
            return 0;
        for (size_t k = 2; k < forms[i].bytes; k++)
            if (!is_continuation(s[k]))
                return 0;
        return forms[i].bytes;
    }
    return 0;
}

ssize_t utf8_length(const char *bytes, size_t len)
{
    const unsigned char *s = (const unsigned char *)bytes;
    ssize_t chars = 0;

    for (size_t i = 0; i < len; chars++) {
        size_t step = char_bytes(s + i, len - i);
        if (step == 0)
            return -1;
        i += step;
    }
    return chars;
}
