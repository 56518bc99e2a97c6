/* SPDX-License-Identifier: BSD-2-Clause */
/* Replies from bytes: whole, in pieces, and hostile ones; and what they say. */
#include "config.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "redis/reader.h"

/* The reply as text: "[+OK :1 nil]". */
static void describe(struct buf *out, const struct redis_reply *reply)
{
    switch (reply->kind) {
    case REDIS_NIL:
        buf_append_str(out, "nil");
        break;
    case REDIS_TEXT:
        buf_printf(out, "'%.*s'", (int)reply->len, reply->text);
        break;
    case REDIS_NUMBER:
        buf_printf(out, "%lld", (long long)reply->number);
        break;
    case REDIS_ERROR:
        buf_printf(out, "!%s", reply->text);
        break;
    case REDIS_ARRAY:
        buf_append_char(out, '[');
        for (size_t i = 0; i < reply->n_elements; i++) {
            if (i > 0)
                buf_append_char(out, ' ');
            describe(out, reply->elements[i]);
        }
        buf_append_char(out, ']');
    }
    assert_true(reply->text[reply->len] == '\0');
}

/* All replies in the bytes, given in pieces of `piece`, one behind the other; "#" where they cannot
   be understood. */
static const char *read_all(TALLOC_CTX *ctx, const char *bytes, size_t len, size_t piece)
{
    struct redis_reader *reader = redis_reader_new(ctx);
    struct buf out;
    int found = 0;

    buf_init(&out, ctx, 1);
    for (size_t at = 0; at < len && found != -1;) {
        size_t n = piece < len - at ? piece : len - at;
        struct redis_reply *reply;
        at += redis_reader_feed(reader, bytes + at, n);
        while ((found = redis_reader_next(reader, ctx, &reply)) == 1)
            describe(&out, reply);
    }
    if (found == -1) {
        assert_true(redis_reader_problem(reader)[0] != '\0');
        buf_append_char(&out, '#');
    }
    return out.data;
}

static void check_replies(const char *bytes, size_t len, const char *expected)
{
    static const size_t pieces[] = {1, 2, 3, 7, 1 << 20};

    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        const char *seen = read_all(ctx, bytes, len, pieces[i]);
        check(strcmp(seen, expected) == 0, "%s in pieces of %zu: %s", bytes, pieces[i], seen);
        talloc_free(ctx);
    }
}

static void test_replies(void **state)
{
    static const struct {
        const char *bytes;
        const char *expected;
    } cases[] = {
        {"+OK\r\n", "'OK'"},
        {"+\r\n", "''"},
        {"-ERR no\r\n", "!ERR no"},
        {":42\r\n:-7\r\n", "42-7"},
        {":9223372036854775807\r\n", "9223372036854775807"},
        {"$3\r\nabc\r\n", "'abc'"},
        {"$0\r\n\r\n", "''"},
        {"$-1\r\n", "nil"},
        {"$4\r\na\r\nb\r\n", "'a\r\nb'"},
        {"*0\r\n", "[]"},
        {"*-1\r\n", "nil"},
        {"*3\r\n$1\r\na\r\n:1\r\n$-1\r\n", "['a' 1 nil]"},
        {"*2\r\n*1\r\n+a\r\n*2\r\n-E\r\n*0\r\n", "[['a'] [!E []]]"},
        {"+a\r\n$1\r\nb\r\n*1\r\n:3\r\n+c\r\n", "'a''b'[3]'c'"},
        {"*2\r\n$1\r\na\r\n", ""}, /* not all there */
        {"$5\r\nab", ""},
        /* of no protocol */
        {"HTTP/1.1 400 Bad Request\r\n", "#"},
        {"@a\r\n", "#"},
        {"$-2\r\n\r\n", "#"},
        {"$a\r\n\r\n", "#"},
        {"*2\r\n+a\r\n?\r\n", "#"},
        {"\r\n", "#"},
        {"+a\r\n@\r\n", "'a'#"},
        /* of hostile size */
        {"*1048577\r\n", "#"},
        {"*2147483647\r\n", "#"},
        {"*99999999999999999999\r\n", "#"},
        {"*2\r\n*1048575\r\n", "#"},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "#"},
        {"$99999999999999999999\r\n", "#"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_replies(cases[i].bytes, strlen(cases[i].bytes), cases[i].expected);
    check_replies("*1\r\n$3\r\na\0b\r\n", 13, "['a']");
}

/* What is announced and never comes must not be waited for for ever, nor allocated. */
static void test_too_much(void **state)
{
    static char filling[64 * 1024];
    static const struct {
        const char *start;
        size_t most;
    } cases[] = {
        {"$1000000000\r\n", REDIS_READER_BYTES},
        {"+", REDIS_READER_LINE_BYTES},
        {"*1\r\n-", REDIS_READER_LINE_BYTES},
        {":", REDIS_READER_LINE_BYTES},
    };

    (void)state;
    memset(filling, '1', sizeof filling);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        struct redis_reader *reader = redis_reader_new(ctx);
        struct redis_reply *reply;
        size_t fed = redis_reader_feed(reader, cases[i].start, strlen(cases[i].start));
        int found = redis_reader_next(reader, ctx, &reply);
        while (found == 0 && fed <= cases[i].most + 2 * sizeof filling) {
            fed += redis_reader_feed(reader, filling, sizeof filling);
            found = redis_reader_next(reader, ctx, &reply);
        }
        check(found == -1, "%s goes on after %zu bytes", cases[i].start, fed);
        talloc_free(ctx);
    }
}

/* A reply belongs to the caller and not to the reader. */
static void test_stolen(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct redis_reader *reader = redis_reader_new(ctx);
    struct redis_reply *reply;
    static const char bytes[] = "*2\r\n$1\r\na\r\n$2\r\nbc\r\n";

    (void)state;
    redis_reader_feed(reader, bytes, sizeof bytes - 1);
    assert_int_equal(redis_reader_next(reader, ctx, &reply), 1);
    struct redis_reply *kept = talloc_steal(NULL, reply->elements[1]);
    talloc_free(reply);
    talloc_free(ctx);
    assert_string_equal(kept->text, "bc");
    talloc_free(kept);
}

/* Many small ones and a large one, whatever the slices: hiredis's buffer is moved after each. */
static void test_large(void **state)
{
    enum { SMALL = 20000, LARGE = 3 * 1024 * 1024 };
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct redis_reader *reader = redis_reader_new(ctx);
    struct buf bytes;
    size_t n_small = 0, n_large = 0;

    (void)state;
    buf_init(&bytes, ctx, 8 * 1024 * 1024);
    for (int i = 0; i < SMALL; i++)
        buf_printf(&bytes, "$5\r\n%05d\r\n", i);
    buf_printf(&bytes, "$%d\r\n", LARGE);
    for (int i = 0; i < LARGE / 8; i++)
        buf_append(&bytes, "\r\n+OK\r\n$", 8);
    buf_append(&bytes, "\r\n", 2);
    for (size_t at = 0; at < bytes.len;) {
        struct redis_reply *reply;
        at += redis_reader_feed(reader, bytes.data + at, bytes.len - at);
        while (redis_reader_next(reader, ctx, &reply) == 1) {
            if (reply->len == 5)
                assert_int_equal(atoi(reply->text), n_small++);
            else
                n_large += reply->len;
            talloc_free(reply);
        }
    }
    assert_int_equal(n_small, SMALL);
    assert_int_equal(n_large, LARGE);
    talloc_free(ctx);
}

static struct redis_reply *read_one(TALLOC_CTX *ctx, const char *bytes)
{
    struct redis_reader *reader = redis_reader_new(ctx);
    struct redis_reply *reply;

    redis_reader_feed(reader, bytes, strlen(bytes));
    assert_int_equal(redis_reader_next(reader, ctx, &reply), 1);
    return reply;
}

static void test_refusals(void **state)
{
    static const struct {
        const char *error;
        enum redis_refusal refusal;
        const char *name;
    } cases[] = {
        {"NOPERM User a has no permissions to run the 'get' command", REDIS_NO_RIGHT, "no-right"},
        {"ERR The user executing the script can't run this command or subcommand", REDIS_NO_RIGHT,
         "no-right"},
        {"NOAUTH Authentication required.", REDIS_NO_LOGIN, "no-login"},
        {"WRONGPASS invalid username-password pair", REDIS_NO_LOGIN, "no-login"},
        {"READONLY You can't write against a read only replica.", REDIS_READ_ONLY, "read-only"},
        {"OOM command not allowed when used memory > 'maxmemory'.", REDIS_FULL, "full"},
        {"MISCONF Redis is configured to save RDB snapshots", REDIS_NOT_SAVING, "not-saving"},
        {"NOREPLICAS Not enough good replicas to write.", REDIS_NO_REPLICAS, "no-replicas"},
        {"BUSY Redis is busy running a script.", REDIS_BUSY, "busy"},
        {"LOADING Redis is loading the dataset in memory", REDIS_LOADING, "loading"},
        {"MASTERDOWN Link with MASTER is down", REDIS_LOADING, "loading"},
        {"WRONGTYPE Operation against a key", REDIS_WRONG_TYPE, "wrong-type"},
        {"OOM", REDIS_FULL, "full"},
        {"BUSYGROUP Consumer Group name already exists", REDIS_OTHER_ERROR, "other-error"},
        {"ERR unknown command", REDIS_OTHER_ERROR, "other-error"},
        {"", REDIS_OTHER_ERROR, "other-error"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TALLOC_CTX *ctx = talloc_new(NULL);
        struct redis_reply *reply = read_one(ctx, talloc_asprintf(ctx, "-%s\r\n", cases[i].error));
        enum redis_refusal refusal = redis_refusal_of(reply);
        check(refusal == cases[i].refusal, "%s: %s", cases[i].error, redis_refusal_name(refusal));
        assert_string_equal(redis_refusal_name(refusal), cases[i].name);
        talloc_free(ctx);
    }
    TALLOC_CTX *ctx = talloc_new(NULL);
    assert_int_equal(redis_refusal_of(read_one(ctx, "+OOM\r\n")), REDIS_NOT_REFUSED);
    assert_int_equal(redis_refusal_of(NULL), REDIS_NOT_REFUSED);
    talloc_free(ctx);
}

static void test_questions(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct redis_reply *reply = read_one(ctx, "*3\r\n+OK\r\n:1\r\n$2\r\nab\r\n");

    (void)state;
    assert_true(redis_reply_is(reply->elements[0], "OK"));
    assert_false(redis_reply_is(reply->elements[0], "O"));
    assert_false(redis_reply_is(reply->elements[1], ""));
    assert_true(redis_reply_is(reply->elements[2], "ab"));
    assert_false(redis_reply_is(reply, ""));
    assert_false(redis_reply_is(NULL, ""));
    assert_ptr_equal(redis_reply_element(reply, 1, REDIS_NUMBER), reply->elements[1]);
    assert_null(redis_reply_element(reply, 1, REDIS_TEXT));
    assert_null(redis_reply_element(reply, 3, REDIS_TEXT));
    assert_null(redis_reply_element(reply->elements[0], 0, REDIS_TEXT));
    assert_null(redis_reply_element(NULL, 0, REDIS_TEXT));
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),  cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_stolen),   cmocka_unit_test(test_large),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_questions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
