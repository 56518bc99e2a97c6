/* SPDX-License-Identifier: BSD-2-Clause */
/* The stored response: its exact bytes, and that damage of any kind is seen. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>
#include <string.h>

#include "cache/entry.h"

static const int64_t snapshot = INT64_C(1700000000123456);

static const char found[] = "lw1 1700000000123456 200 59f25c4161e06afb43719089b02c86b7 "
                            "00000095 000000008\n"
                            "Content-Type: application/json\r\n"
                            "ETag: \"59f25c4161e06afb43719089b02c86b7\"\r\n"
                            "Content-Length: 8\r\n"
                            "\r\n"
                            "{\"id\":7}";

static const char missing[] = "lw1 1700000000123456 404 adaba50786a4e8f67b0e0be74c31e24a "
                              "00000062 000000014\n"
                              "Content-Type: application/problem+json\r\n"
                              "Content-Length: 14\r\n"
                              "\r\n"
                              "{\"status\":404}";

static void test_exact_bytes(void **state)
{
    static const struct {
        int64_t snapshot;
        int status;
        const char *body;
        const char *entry;
    } cases[] = {
        {INT64_C(1700000000123456), 200, "{\"id\":7}", found},
        {INT64_C(1700000000123456), 404, "{\"status\":404}", missing},
        {0, 200, "",
         "lw1 0000000000000000 200 99aa06d3014798d86001c324468d497f 00000095 000000000\n"
         "Content-Type: application/json\r\n"
         "ETag: \"99aa06d3014798d86001c324468d497f\"\r\n"
         "Content-Length: 0\r\n"
         "\r\n"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf out;
        buf_init(&out, ctx, 0);
        entry_encode(&out, cases[i].snapshot, cases[i].status, cases[i].body,
                     strlen(cases[i].body));
        check(strcmp(out.data, cases[i].entry) == 0, "case %zu: %s", i, out.data);
        check(out.len == strlen(cases[i].entry), "case %zu", i);
    }
    talloc_free(ctx);
}

static void test_decoding(void **state)
{
    struct cache_entry entry;

    (void)state;
    assert_int_equal(entry_decode(found, strlen(found), &entry), 0);
    assert_int_equal(entry.snapshot_us, snapshot);
    assert_int_equal(entry.status, 200);
    assert_string_equal(entry.etag, "\"59f25c4161e06afb43719089b02c86b7\"");
    assert_ptr_equal(entry.head, found + ENTRY_PREFIX_BYTES);
    assert_int_equal(entry.head_len, 95);
    assert_ptr_equal(entry.body, entry.head + 95);
    assert_int_equal(entry.body_len, 8);
    assert_memory_equal(found + ENTRY_SNAPSHOT_AT, "1700000000123456", ENTRY_SNAPSHOT_DIGITS);

    assert_int_equal(entry_decode(missing, strlen(missing), &entry), 0);
    assert_int_equal(entry.status, 404);
    assert_string_equal(entry.etag, "");
    assert_string_equal(entry.body, "{\"status\":404}");
}

static void test_statuses(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct cache_entry entry;
    struct buf out;

    (void)state;
    buf_init(&out, ctx, 0);
    entry_encode(&out, 1, 410, "{}", 2);
    assert_int_equal(entry_decode(out.data, out.len, &entry), 0);
    assert_int_equal(entry.status, 410);
    assert_string_equal(entry.etag, "");
    for (int status = 0; status < 1000; status++) {
        char digits[16];
        snprintf(digits, sizeof digits, "%03d", status);
        memcpy(out.data + ENTRY_SNAPSHOT_AT + ENTRY_SNAPSHOT_DIGITS + 1, digits, 3);
        check((entry_decode(out.data, out.len, &entry) == 0) ==
                  (status == 200 || status == 404 || status == 410),
              "%d", status);
    }
    talloc_free(ctx);
}

/* Bytes of every value in the body, and snapshots that 16 digits cannot hold. */
static void test_round_trip(void **state)
{
    static const struct {
        int64_t given;
        int64_t kept;
    } snapshots[] = {
        {1, 1},
        {-1, 0},
        {INT64_C(9999999999999999), INT64_C(9999999999999999)},
        {INT64_C(10000000000000000), INT64_C(9999999999999999)},
        {INT64_MAX, INT64_C(9999999999999999)},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    char body[256];

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)i;
    for (size_t i = 0; i < COUNT_OF(snapshots); i++) {
        struct buf out;
        struct cache_entry entry;
        buf_init(&out, ctx, 0);
        entry_encode(&out, snapshots[i].given, 200, body, sizeof body);
        check(entry_decode(out.data, out.len, &entry) == 0, "case %zu", i);
        check(entry.snapshot_us == snapshots[i].kept, "case %zu: %" PRId64, i, entry.snapshot_us);
        check(entry.body_len == sizeof body, "case %zu: %zu", i, entry.body_len);
        assert_memory_equal(entry.body, body, sizeof body);
    }
    talloc_free(ctx);
}

static void test_every_cut_is_seen(void **state)
{
    struct cache_entry entry;

    (void)state;
    for (size_t len = 0; len < strlen(found); len++)
        check(entry_decode(found, len, &entry) == -1, "%zu bytes", len);
    /* one byte too many: the NUL behind it */
    assert_int_equal(entry_decode(found, sizeof found, &entry), -1);
}

/* No byte of the prefix may be anything else than what it is made of. */
static void test_damage_is_seen(void **state)
{
    static const struct {
        size_t at;
        const char *bytes;
    } cases[] = {
        {0, "L"},
        {1, "v"},
        {2, "2"},
        {3, "1"},
        {4, "-"},
        {4, " "},
        {19, ":"},
        {19, "/"},
        {20, "0"},
        {21, "201"},
        {21, "304"},
        {21, " 20"},
        {24, "0"},
        {25, "G"},
        {25, "A"},
        {56, "`"},
        {56, "\xff"},
        {57, "\0"},
        {58, "+"},
        {58, "00000094"},
        {58, "00000096"},
        {58, "99999999"},
        {66, "0"},
        {67, "-"},
        {67, "000000007"},
        {67, "000000009"},
        {67, "999999999"},
        {76, " "},
        {58, "00000000 000000103"}, /* all of it body */
        {58, "00000103 000000000"}, /* all of it head */
        {58, "00000003 000000100"},
    };
    char bytes[sizeof found];
    struct cache_entry entry;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len = strlen(cases[i].bytes);
        memcpy(bytes, found, sizeof found);
        memcpy(bytes + cases[i].at, cases[i].bytes, len > 0 ? len : 1);
        check(entry_decode(bytes, strlen(found), &entry) == -1, "case %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_bytes),       cmocka_unit_test(test_decoding),
        cmocka_unit_test(test_statuses),          cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_cut_is_seen), cmocka_unit_test(test_damage_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
