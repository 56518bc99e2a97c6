/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever a client sends in Accept-Encoding and If-None-Match is read within its bounds, and says
   nothing that contradicts itself. */
#include "config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/accept_encoding.h"
#include "http/conditional.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *field = malloc(size + 1);

    if (field == NULL)
        return 0;
    memcpy(field, data, size);
    field[size] = '\0';
    struct acceptance one = accept_encoding(field, "gzip"), none = accept_encoding(field, NULL);
    must(!one.prefers_coded || one.coded);
    must(one.plain == none.plain && !none.coded && !none.prefers_coded);
    must(one.coded || !one.prefers_coded);
    must(conditional_none_match(field, "\"abc\"") || strcmp(field, "*") != 0);
    free(field);
    return 0;
}
