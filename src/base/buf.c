/* SPDX-License-Identifier: BSD-2-Clause */
/* Growth by doubling on talloc. */
#include "config.h"

#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void buf_init(struct buf *buf, TALLOC_CTX *owner, size_t reserve)
{
    *buf = (struct buf){.owner = owner};
    if (reserve > 0) {
        buf->data = mem_check(talloc_array(owner, char, reserve + 1));
        buf->size = reserve + 1;
        buf->data[0] = '\0';
    }
}

/* More than this talloc does not give in one piece, however much memory there is. */
enum { LARGEST_PIECE = 0x10000000 - 1 };

static void make_room(struct buf *buf, size_t more)
{
    size_t needed = buf->len + more + 1;
    size_t size = buf->size > 0 ? buf->size : 64;

    if (needed <= buf->size)
        return;
    while (size < needed)
        size *= 2;
    if (size > LARGEST_PIECE && needed <= LARGEST_PIECE)
        size = LARGEST_PIECE;
    buf->data = mem_check(talloc_realloc(buf->owner, buf->data, char, size));
    buf->size = size;
}

char *buf_room(struct buf *buf, size_t len)
{
    make_room(buf, len);
    return buf->data + buf->len;
}

void buf_took(struct buf *buf, size_t len)
{
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void buf_append(struct buf *buf, const void *bytes, size_t len)
{
    make_room(buf, len);
    if (len > 0)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void buf_append_str(struct buf *buf, const char *str)
{
    buf_append(buf, str, strlen(str));
}

void buf_append_char(struct buf *buf, char c)
{
    buf_append(buf, &c, 1);
}

void buf_append_number(struct buf *buf, uint64_t number)
{
    char digits[20]; /* of the largest */
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buf_append(buf, digits + at, sizeof digits - at);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        return;
    make_room(buf, (size_t)len);
    va_start(args, format);
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
}

void buf_consume(struct buf *buf, size_t len)
{
    if (buf->data == NULL)
        return;
    memmove(buf->data, buf->data + len, buf->len - len);
    buf->len -= len;
    buf->data[buf->len] = '\0';
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

void buf_release(struct buf *buf, size_t keep)
{
    buf->len = 0;
    if (buf->size > keep) {
        TALLOC_FREE(buf->data);
        buf->size = 0;
    } else if (buf->data != NULL) {
        buf->data[0] = '\0';
    }
}
