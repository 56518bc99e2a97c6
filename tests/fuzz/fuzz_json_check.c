/* SPDX-License-Identifier: BSD-2-Clause */
/* What is taken for JSON in parts is what yajl takes for JSON as a whole, by itself and as the only
   item of an array (for it passes over a token that begins behind a value and does not end), is
   UTF-8 (for it lets some pass that RFC 3629 does not), and has no vertical tab or form feed (which
   are white space to it). */
#include "config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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

static bool yajl_takes_as_item(TALLOC_CTX *ctx, const char *text, size_t size)
{
    struct buf array;

    buf_init(&array, ctx, 0);
    buf_append_char(&array, '[');
    buf_append(&array, text, size);
    buf_append_char(&array, ']');
    return yajl_takes((const uint8_t *)array.data, array.len);
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
    TALLOC_CTX *ctx = talloc_new(NULL);
    bool whole = yajl_takes(data, size) && yajl_takes_as_item(ctx, text, size) &&
                 utf8_length(text, size) != -1 && memchr(text, '\v', size) == NULL &&
                 memchr(text, '\f', size) == NULL;
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
