/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of the table in coding.c, each by its file. */
#ifndef LEEWAY_CODING_CODINGS_H
#define LEEWAY_CODING_CODINGS_H

#include "coding/coding.h"

/* RFC 1952, by libdeflate. */
extern const struct coding coding_gzip;

#endif
