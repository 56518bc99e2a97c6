/* SPDX-License-Identifier: BSD-2-Clause */
/* What a Redis server sends: the same replies come out however the bytes come, and a greeting ends
   whatever they are. The first byte says in what pieces. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "redis/address.h"
#include "redis/clock_keeper.h"
#include "redis/greeting.h"
#include "redis/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void describe(struct buf *out, const struct redis_reply *reply, int depth)
{
    must(reply != NULL && depth <= REDIS_READER_DEPTH && reply->text[reply->len] == '\0');
    must(reply->kind == REDIS_TEXT || reply->kind == REDIS_ERROR || reply->len == 0);
    buf_printf(out, "%d:%lld:%zu:", (int)reply->kind, (long long)reply->number, reply->len);
    buf_append(out, reply->text, reply->len);
    for (size_t i = 0; i < reply->n_elements; i++)
        describe(out, reply->elements[i], depth + 1);
    must((redis_refusal_of(reply) != REDIS_NOT_REFUSED) == (reply->kind == REDIS_ERROR));
}

/* Appends all replies. Returns whether the bytes were understood. */
static bool read_all(struct buf *out, const char *bytes, size_t len, size_t piece)
{
    struct redis_reader *reader = redis_reader_new(NULL);
    int found = 0;

    for (size_t at = 0; at < len && found != -1;) {
        size_t n = piece < len - at ? piece : len - at;
        struct redis_reply *reply;
        at += redis_reader_feed(reader, bytes + at, n);
        while ((found = redis_reader_next(reader, out->owner, &reply)) == 1)
            describe(out, reply, 0);
    }
    must(found != -1 || redis_reader_problem(reader)[0] != '\0');
    talloc_free(reader);
    return found != -1;
}

static void check_greeting(const char *bytes, size_t len)
{
    static const struct redis_settings settings = {
        .username = "u", .password = "p", .prefix = "x", .database = 1};
    const struct redis_greeting_options options = {&settings, "fuzzer", "x:clock"};
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    struct redis_reader *reader = redis_reader_new(ctx);
    struct redis_greeting greeting = {.hello_unknown = false};
    struct redis_reply *reply;
    struct buf out;

    buf_init(&out, ctx, 0);
    redis_greeting_begin(&greeting, &options);
    enum redis_greeting_verdict verdict = redis_greeting_write(&greeting, &out);
    for (size_t at = 0; at < len && verdict == GREETING_WAITS;) {
        at += redis_reader_feed(reader, bytes + at, len - at);
        while (verdict == GREETING_WAITS && redis_reader_next(reader, ctx, &reply) == 1) {
            verdict = redis_greeting_take(&greeting, reply);
            if (verdict == GREETING_SPEAKS)
                verdict = redis_greeting_write(&greeting, &out);
        }
    }
    must(verdict != GREETING_FAILED || greeting.problem[0] != '\0');
    must(verdict != GREETING_DONE ||
         (greeting.result.received_us >= greeting.result.sent_us && greeting.result.redis_us >= 0));
    talloc_free(ctx);
}

static void check_address(const char *bytes, size_t len)
{
    char *text = mem_check(talloc_strndup(NULL, bytes, len));
    struct redis_address address;

    must(redis_address_parse(text, &address) == -1 ||
         (address.host[0] != '\0' && strstr(text, address.host) != NULL));
    talloc_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data + 1;
    TALLOC_CTX *ctx;
    struct buf whole, pieces;

    if (size < 2)
        return 0;
    ctx = mem_check(talloc_new(NULL));
    buf_init(&whole, ctx, 1);
    buf_init(&pieces, ctx, 1);
    bool understood = read_all(&whole, bytes, size - 1, size);
    must(read_all(&pieces, bytes, size - 1, 1u + data[0] % 16) == understood);
    must(whole.len == pieces.len && memcmp(whole.data, pieces.data, whole.len) == 0);
    talloc_free(ctx);
    check_greeting(bytes, size - 1);
    check_address(bytes, size - 1);
    return 0;
}
