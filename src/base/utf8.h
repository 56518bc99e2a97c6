/* SPDX-License-Identifier: BSD-2-Clause */
/* UTF-8 as RFC 3629 defines it: no overlong form, no surrogate, at most U+10FFFF. */
#ifndef LEEWAY_BASE_UTF8_H
#define LEEWAY_BASE_UTF8_H

#include <stddef.h>
#include <sys/types.h>

/* Number of characters, or -1 if the bytes are not UTF-8. A NUL is a character. */
ssize_t utf8_length(const char *bytes, size_t len) __attribute__((warn_unused_result));

#endif
