/* SPDX-License-Identifier: BSD-2-Clause */
/* Checked numbers: text in, all of it or nothing. Digits are always decimal. */
#ifndef LEEWAY_BASE_NUM_H
#define LEEWAY_BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* [-]digits, leading zeros allowed, "-0" is 0, no sign '+', no spaces.
   false if it is anything else or does not fit. */
bool num_parse_i64(const char *text, size_t len, int64_t *out) __attribute__((warn_unused_result));

/* "250ms", "30s", "2m", "1h", "1d", and "0" with or without unit. */
bool num_parse_duration_ms(const char *text, int64_t *out) __attribute__((warn_unused_result));

/* "512", "64kb", "1mb", in bytes; kb is 1024. */
bool num_parse_size(const char *text, int64_t *out) __attribute__((warn_unused_result));

#endif
