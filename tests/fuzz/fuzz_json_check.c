/* SPDX-License-Identifier: BSD-2-Clause */
/* What is taken for JSON in parts is what yajl takes for JSON as a whole, and is UTF-8: yajl lets
   some pass that RFC 3629 does not. */
#include "config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <talloc.h>
#include <yajl/yajl_parse.h>

#include "base/utf8.h"
#include "source/json_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool yajl_takes(const uint8_t *data, size_t size)
{
    yajl_handle parser = yajl_alloc(NULL, NULL, NULL);
    bool whole = yajl_parse(parser, data, size) == yajl_status_ok &&
                 yajl_complete_parse(parser) == yajl_status_ok;

    yajl_free(parser);
    return whole;
}

static bool we_take(struct json_check *check, const char *text, size_t size, size_t step)
{
    json_check_begin(check);
    for (size_t at = 0; at < size; at += step)
        if (!json_check_take(check, text + at, size - at < step ? size - at : step))
            return false;
    return json_check_is_whole(check);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    bool whole = yajl_takes(data, size) && utf8_length(text, size) != -1;
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct json_check check;

    json_check_init(&check, ctx);
    for (size_t step = 1; step <= 17; step += 4)
        if (we_take(&check, text, size, step) != whole)
            abort();
    if (we_take(&check, text, size, size + 1) != whole)
        abort();
    talloc_free(ctx);
    return 0;
}
