/* SPDX-License-Identifier: BSD-2-Clause */
/* Decimal text to checked integers, durations and sizes. */
#include "config.h"

#include "base/num.h"

#include <string.h>

struct unit {
    const char *suffix;
    int64_t factor;
};

bool num_parse_i64(const char *text, size_t len, int64_t *out)
{
    bool negative = len > 0 && text[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t value = 0;

    if (i == len)
        return false;
    for (; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        int digit = text[i] - '0';
        /* accumulated below zero, where one more value fits */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return false;
    }
    if (!negative && __builtin_sub_overflow(0, value, &value))
        return false;
    *out = value;
    return true;
}

static bool parse_with_unit(const char *text, const struct unit *units, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    int64_t number;

    if (!num_parse_i64(text, digits, &number))
        return false;
    for (; units->suffix != NULL; units++)
        if (strcmp(text + digits, units->suffix) == 0)
            return !__builtin_mul_overflow(number, units->factor, out);
    return false;
}

bool num_parse_duration_ms(const char *text, int64_t *out)
{
    static const struct unit units[] = {
        {"ms", 1},          {"s", 1000},         {"m", 60 * 1000},
        {"h", 3600 * 1000}, {"d", 86400 * 1000}, {NULL, 0},
    };

    if (strcmp(text, "0") == 0) {
        *out = 0;
        return true;
    }
    return parse_with_unit(text, units, out);
}

bool num_parse_size(const char *text, int64_t *out)
{
    static const struct unit units[] = {{"", 1}, {"kb", 1024}, {"mb", 1024 * 1024}, {NULL, 0}};

    return parse_with_unit(text, units, out);
}
