/* SPDX-License-Identifier: BSD-2-Clause */
/* A thin layer over yajl's generator, indented. */
#include "config.h"

#include "ctl/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>
#include <yajl/yajl_gen.h>

#include "base/mem.h"
#include "base/utf8.h"

struct json_out {
    yajl_gen gen;
};

struct json_out *json_begin(void)
{
    struct json_out *json = mem_check(talloc_zero(NULL, struct json_out));

    json->gen = mem_check(yajl_gen_alloc(NULL));
    yajl_gen_config(json->gen, yajl_gen_beautify, 1);
    yajl_gen_config(json->gen, yajl_gen_indent_string, "  ");
    return json;
}

void json_end(struct json_out *json)
{
    const unsigned char *text;
    size_t len;

    if (yajl_gen_get_buf(json->gen, &text, &len) == yajl_gen_status_ok)
        fwrite(text, 1, len, stdout);
    yajl_gen_free(json->gen);
    talloc_free(json);
}

static void put_text(struct json_out *json, const char *text)
{
    yajl_gen_string(json->gen, (const unsigned char *)text, strlen(text));
}

static void put_key(struct json_out *json, const char *key)
{
    if (key != NULL)
        put_text(json, key);
}

void json_open_object(struct json_out *json, const char *key)
{
    put_key(json, key);
    yajl_gen_map_open(json->gen);
}

void json_close_object(struct json_out *json)
{
    yajl_gen_map_close(json->gen);
}

void json_open_array(struct json_out *json, const char *key)
{
    put_key(json, key);
    yajl_gen_array_open(json->gen);
}

void json_close_array(struct json_out *json)
{
    yajl_gen_array_close(json->gen);
}

void json_text(struct json_out *json, const char *key, const char *text)
{
    put_key(json, key);
    if (text != NULL && utf8_length(text, strlen(text)) != -1)
        put_text(json, text);
    else
        yajl_gen_null(json->gen);
}

void json_number(struct json_out *json, const char *key, int64_t number)
{
    put_key(json, key);
    yajl_gen_integer(json->gen, number);
}

void json_seconds(struct json_out *json, const char *key, int64_t micros)
{
    char text[32];
    int64_t whole = micros < 0 ? -micros : micros;
    int len = snprintf(text, sizeof text, "%s%" PRId64 ".%06" PRId64, micros < 0 ? "-" : "",
                       whole / 1000000, whole % 1000000);

    put_key(json, key);
    yajl_gen_number(json->gen, text, (size_t)len);
}

void json_bool(struct json_out *json, const char *key, bool value)
{
    put_key(json, key);
    yajl_gen_bool(json->gen, value);
}

void json_null(struct json_out *json, const char *key)
{
    put_key(json, key);
    yajl_gen_null(json->gen);
}
