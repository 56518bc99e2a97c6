/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of codings. */
#include "config.h"

#include "coding/coding.h"

#include <stdlib.h>
#include <string.h>

#include "coding/codings.h"

static const struct coding *const codings[] = {&coding_gzip};

enum { N_CODINGS = sizeof codings / sizeof codings[0] };

/* No coding makes more of what it cannot compress. */
void coding_code_anyhow(const struct coding *coding, struct buf *out, const char *bytes, size_t len)
{
    if (!coding->code(out, bytes, len, len + len / 64 + 64))
        abort();
}

const struct coding *coding_of(const char *name, size_t len)
{
    for (size_t i = 0; i < N_CODINGS; i++)
        if (strlen(codings[i]->name) == len && memcmp(codings[i]->name, name, len) == 0)
            return codings[i];
    return NULL;
}

const char *coding_name(size_t i)
{
    return i < N_CODINGS ? codings[i]->name : NULL;
}
