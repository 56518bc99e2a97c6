/* SPDX-License-Identifier: BSD-2-Clause */
/* A growing run of bytes. `data` is always NUL-terminated behind `len`, so that
   text can be used in place. */
#ifndef LEEWAY_BASE_BUF_H
#define LEEWAY_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

struct buf {
    char *data; /* owned by the buf's talloc parent; moves when it grows */
    size_t len;
    size_t size;
    TALLOC_CTX *owner;
};

/* Nothing is allocated until something is appended beyond `reserve` bytes. */
void buf_init(struct buf *buf, TALLOC_CTX *owner, size_t reserve);
void buf_append(struct buf *buf, const void *bytes, size_t len);
void buf_append_str(struct buf *buf, const char *str);
void buf_append_char(struct buf *buf, char c);
void buf_append_number(struct buf *buf, uint64_t number); /* in decimal */
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for `len` more bytes, to be written in place; then buf_took() says how many they are. */
char *buf_room(struct buf *buf, size_t len);
void buf_took(struct buf *buf, size_t len);
/* Drops the first `len` bytes. */
void buf_consume(struct buf *buf, size_t len);
void buf_clear(struct buf *buf);
/* The same, and gives the memory back if it is more than `keep` bytes. */
void buf_release(struct buf *buf, size_t keep);

#endif
