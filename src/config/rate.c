/* SPDX-License-Identifier: BSD-2-Clause */
/* Number, "/s burst ", number. */
#include "config.h"

#include "config/rate.h"

#include <string.h>

#include "base/num.h"

/* The number at *text, which is moved behind it. */
static bool take_number(const char **text, int64_t *number)
{
    size_t digits = strspn(*text, "0123456789");
    const char *start = *text;

    *text += digits;
    return num_parse_i64(start, digits, number);
}

const char *rate_parse(const char *text, struct rate *rate)
{
    static const char between[] = "/s burst ";
    struct rate read = {0};

    *rate = read;
    if (text[0] == '\0')
        return NULL;
    if (!take_number(&text, &read.a_second) || strncmp(text, between, sizeof between - 1) != 0)
        return "is not a rate like 20/s burst 100";
    text += sizeof between - 1;
    if (!take_number(&text, &read.burst) || text[0] != '\0')
        return "is not a rate like 20/s burst 100";
    if (read.a_second < 1 || read.a_second > RATE_MAX || read.burst < 1 || read.burst > RATE_MAX)
        return "is out of range, both numbers must be from 1 to 1000000";
    *rate = read;
    return NULL;
}
