/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes commands: printf() would take a third of the instructions that one costs. */
#include "config.h"

#include "redis/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HEADER_BYTES = 24 }; /* a kind, 20 digits, the ends of two lines: rounded up */

struct redis_part redis_text(const char *text)
{
    return (struct redis_part){text, strlen(text)};
}

struct redis_part redis_number(struct redis_digits *room, int64_t number)
{
    snprintf(room->text, sizeof room->text, "%" PRId64, number);
    return redis_text(room->text);
}

size_t redis_command_bytes(const struct redis_part *parts, size_t count)
{
    size_t bytes = HEADER_BYTES;

    for (size_t i = 0; i < count; i++)
        bytes += parts[i].len + HEADER_BYTES;
    return bytes;
}

/* "$12\r\n" */
static void append_header(struct buf *out, char kind, size_t number)
{
    char header[HEADER_BYTES];
    size_t at = sizeof header;

    header[--at] = '\n';
    header[--at] = '\r';
    do
        header[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    header[--at] = kind;
    buf_append(out, header + at, sizeof header - at);
}

void redis_command_encode(struct buf *out, const struct redis_part *parts, size_t count)
{
    append_header(out, '*', count);
    for (size_t i = 0; i < count; i++) {
        append_header(out, '$', parts[i].len);
        buf_append(out, parts[i].data, parts[i].len);
        buf_append(out, "\r\n", 2);
    }
}

bool redis_command_may_get(const char *name, enum redis_kind kind)
{
    static const struct {
        const char *name;
        unsigned kinds;
    } known[] = {
        {"GET", 1U << REDIS_TEXT | 1U << REDIS_NIL},
        {"TIME", 1U << REDIS_ARRAY},
        {"GETRANGE", 1U << REDIS_TEXT},
        {"PTTL", 1U << REDIS_NUMBER},
        {"HMGET", 1U << REDIS_ARRAY},
        {"SET", 1U << REDIS_TEXT | 1U << REDIS_NIL},
        {"DEL", 1U << REDIS_NUMBER},
        {"BLMOVE", 1U << REDIS_TEXT | 1U << REDIS_NIL},
        {"LREM", 1U << REDIS_NUMBER},
        {"SADD", 1U << REDIS_NUMBER},
        {"SMEMBERS", 1U << REDIS_ARRAY},
    };

    if (kind == REDIS_ERROR)
        return true;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return (known[i].kinds & 1U << kind) != 0;
    return true;
}
