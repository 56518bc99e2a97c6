/* SPDX-License-Identifier: BSD-2-Clause */
/* Well-formedness of UTF-8 after the table of RFC 3629, section 4. */
#include "config.h"

#include "base/utf8.h"

#include <stdbool.h>

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t utf8_form(unsigned char first, unsigned char *low, unsigned char *high)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t further;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 1}, {0xe0, 0xe0, 0xa0, 0xbf, 2}, {0xe1, 0xec, 0x80, 0xbf, 2},
        {0xed, 0xed, 0x80, 0x9f, 2}, {0xee, 0xef, 0x80, 0xbf, 2}, {0xf0, 0xf0, 0x90, 0xbf, 3},
        {0xf1, 0xf3, 0x80, 0xbf, 3}, {0xf4, 0xf4, 0x80, 0x8f, 3},
    };

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (first < forms[i].first_low || first > forms[i].first_high)
            continue;
        *low = forms[i].second_low;
        *high = forms[i].second_high;
        return forms[i].further;
    }
    return 0;
}

size_t utf8_char_bytes(const char *bytes, size_t len)
{
    const unsigned char *s = (const unsigned char *)bytes;
    unsigned char low, high;

    if (s[0] < 0x80)
        return 1;
    size_t further = utf8_form(s[0], &low, &high);
    if (further == 0 || len <= further || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i <= further; i++)
        if (!is_continuation(s[i]))
            return 0;
    return further + 1;
}

ssize_t utf8_length(const char *bytes, size_t len)
{
    ssize_t chars = 0;

    for (size_t i = 0; i < len; chars++) {
        size_t step = utf8_char_bytes(bytes + i, len - i);
        if (step == 0)
            return -1;
        i += step;
    }
    return chars;
}
