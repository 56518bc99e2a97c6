/* SPDX-License-Identifier: BSD-2-Clause */
/* Problem bodies through yajl's generator, which allocates on talloc here. */
#include "config.h"

#include "http/problem.h"

#include <string.h>
#include <yajl/yajl_gen.h>

#include "base/mem.h"

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},               /* RFC 6585 */
        {431, "Request Header Fields Too Large"}, /* RFC 6585 */
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

static void *gen_malloc(void *ctx, size_t size)
{
    return mem_check(talloc_size(ctx, size));
}

static void *gen_realloc(void *ctx, void *block, size_t size)
{
    return mem_check(talloc_realloc_size(ctx, block, size));
}

static void gen_free(void *ctx, void *block)
{
    (void)ctx;
    talloc_free(block);
}

static void put_string(yajl_gen gen, const char *text)
{
    yajl_gen_string(gen, (const unsigned char *)text, strlen(text));
}

static void put_member(yajl_gen gen, const char *name, const char *text)
{
    put_string(gen, name);
    put_string(gen, text);
}

char *problem_body(TALLOC_CTX *ctx, int status, const char *detail, size_t *len)
{
    TALLOC_CTX *scratch = mem_check(talloc_new(NULL));
    yajl_alloc_funcs funcs = {gen_malloc, gen_realloc, gen_free, scratch};
    yajl_gen gen = mem_check(yajl_gen_alloc(&funcs));
    const unsigned char *json = NULL;

    yajl_gen_map_open(gen);
    put_member(gen, "type", "about:blank");
    put_member(gen, "title", http_reason(status));
    put_string(gen, "status");
    yajl_gen_integer(gen, status);
    if (detail != NULL)
        put_member(gen, "detail", detail);
    yajl_gen_map_close(gen);
    yajl_gen_get_buf(gen, &json, len);
    char *body = mem_check(talloc_strndup(ctx, (const char *)json, *len));
    yajl_gen_free(gen);
    talloc_free(scratch);
    return body;
}
