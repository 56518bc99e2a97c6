/* SPDX-License-Identifier: BSD-2-Clause */
/* UTF-8 as RFC 3629 defines it: no overlong form, no surrogate, at most U+10FFFF. */
#ifndef LEEWAY_BASE_UTF8_H
#define LEEWAY_BASE_UTF8_H

#include <stddef.h>
#include <sys/types.h>

/* Number of characters, or -1 if the bytes are not UTF-8. A NUL is a character. */
ssize_t utf8_length(const char *bytes, size_t len) __attribute__((warn_unused_result));

/* Bytes of the first character, or 0 if it is malformed. There is at least one byte. */
size_t utf8_char_bytes(const char *bytes, size_t len);

/* How many bytes follow the first one of a character that is not ASCII, and between what the next
   of them has to be (those behind it: 0x80 and 0xbf); 0: no character begins so. */
size_t utf8_form(unsigned char first, unsigned char *low, unsigned char *high);

#endif
