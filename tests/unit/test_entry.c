/* SPDX-License-Identifier: BSD-2-Clause */
/* The stored response: its exact bytes, and that damage of any kind is seen. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "cache/entry.h"
#include "coding/coding.h"

static const int64_t snapshot = INT64_C(1700000000123456);

#define RUN_ID "0123456789abcdef0123456789abcdef01234567"
#define TIMES  "1700000000123456 1700000000200000"
#define KEY    "8f4e98cb2bcf99aa"
#define HASH   "59f25c4161e06afb43719089b02c86b7"
#define HASH2  "adaba50786a4e8f67b0e0be74c31e24a"
#define NO_RUN "----------------------------------------"

static const char base[] = "leeway:{r.0123456789abcdef:=7}";

static const char found[] = "lw2 " TIMES " " RUN_ID " 200 identity " KEY " " HASH " " HASH
                            " 000000 000095 000000008 000000008\n"
                            "Content-Type: application/json\r\n"
                            "ETag: \"" HASH "\"\r\n"
                            "Content-Length: 8\r\n"
                            "\r\n"
                            "{\"id\":7}";

static const char tagged[] = "lw2 " TIMES " " NO_RUN " 200 identity " KEY " " HASH " " HASH
                             " 000016 000118 000000008 000000008\n"
                             "user:7\nproducts\n"
                             "Content-Type: application/json\r\n"
                             "Vary: Accept-Encoding\r\n"
                             "ETag: \"" HASH "\"\r\n"
                             "Content-Length: 8\r\n"
                             "\r\n"
                             "{\"id\":7}";

static const char missing[] = "lw2 " TIMES " " RUN_ID " 404 identity " KEY " " HASH2 " " HASH2
                              " 000000 000062 000000014 000000014\n"
                              "Content-Type: application/problem+json\r\n"
                              "Content-Length: 14\r\n"
                              "\r\n"
                              "{\"status\":404}";

static struct entry_facts usual_facts(void)
{
    return (struct entry_facts){
        .snapshot_us = snapshot,
        .arrival_us = INT64_C(1700000000200000),
        .clock = RUN_ID,
        .status = 200,
        .key = entry_key(base),
        .tags = "",
    };
}

static void check_bytes(const struct entry_facts *facts, const char *body, const char *expected)
{
    struct buf out;

    buf_init(&out, NULL, 0);
    entry_encode(&out, facts, body, strlen(body));
    assert_string_equal(out.data, expected);
    assert_int_equal(out.len, strlen(expected));
    talloc_free(out.data);
}

static void test_exact_bytes(void **state)
{
    struct entry_facts facts = usual_facts();

    (void)state;
    check_bytes(&facts, "{\"id\":7}", found);
    facts.status = 404;
    check_bytes(&facts, "{\"status\":404}", missing);
    facts = usual_facts();
    facts.clock = "";
    facts.tags = "user:7\nproducts\n";
    facts.varies = true;
    check_bytes(&facts, "{\"id\":7}", tagged);
}

static void check_etag(const struct cache_entry *entry, bool plain, const char *expected)
{
    char etag[ENTRY_ETAG_BYTES + 1];

    entry_etag(entry, plain, etag);
    assert_string_equal(etag, expected);
}

static void test_decoding(void **state)
{
    struct cache_entry entry;

    (void)state;
    assert_int_equal(entry_decode(found, strlen(found), entry_key(base), &entry), 0);
    assert_int_equal(entry.snapshot_us, snapshot);
    assert_int_equal(entry_arrival_us(&entry), INT64_C(1700000000200000));
    assert_memory_equal(entry.clock, RUN_ID, ENTRY_CLOCK_BYTES);
    assert_int_equal(entry.status, 200);
    assert_null(entry.coding);
    check_etag(&entry, false, "\"" HASH "\"");
    check_etag(&entry, true, "\"" HASH "\"");
    assert_ptr_equal(entry.head, found + ENTRY_PREFIX_BYTES);
    assert_int_equal(entry.head_len, 95);
    assert_ptr_equal(entry.body, entry.head + 95);
    assert_int_equal(entry.body_len, 8);
    assert_int_equal(entry.plain_len, 8);
    assert_int_equal(entry.tags_len, 0);
    assert_memory_equal(found + ENTRY_SNAPSHOT_AT, "1700000000123456", ENTRY_SNAPSHOT_DIGITS);

    assert_int_equal(entry_decode(missing, strlen(missing), entry_key(base), &entry), 0);
    assert_int_equal(entry.status, 404);
    check_etag(&entry, false, "");
    assert_string_equal(entry.body, "{\"status\":404}");

    assert_int_equal(entry_decode(tagged, strlen(tagged), entry_key(base), &entry), 0);
    assert_int_equal(entry.tags_len, 16);
    assert_memory_equal(entry.tags, "user:7\nproducts\n", 16);
    assert_string_equal(entry.body, "{\"id\":7}");
}

/* The reply to another question is not taken for the answer to this one. */
static void test_another_key(void **state)
{
    struct cache_entry entry;

    (void)state;
    assert_int_equal(entry_decode(found, strlen(found), entry_key("leeway:{r.0:=8}"), &entry), -1);
}

static void test_statuses(void **state)
{
    struct cache_entry entry;
    char bytes[sizeof missing];

    (void)state;
    memcpy(bytes, missing, sizeof missing);
    for (int status = 0; status < 1000; status++) {
        char digits[16];
        snprintf(digits, sizeof digits, "%03d", status);
        memcpy(bytes + 79, digits, 3);
        check((entry_decode(bytes, strlen(missing), entry_key(base), &entry) == 0) ==
                  (status == 200 || status == 404 || status == 410),
              "%d", status);
    }
}

enum { ROOM = 512 };

/* NULL, or the entry; until the next call. */
static const char *around(const char *body, size_t len, size_t room,
                          const struct entry_facts *facts)
{
    static char bytes[ROOM + 256];
    XXH128_hash_t hash = XXH3_128bits(body, len);

    memset(bytes, '#', sizeof bytes);
    memcpy(bytes + ROOM, body, len);
    const char *entry = entry_encode_around(bytes + ROOM, len, room,
                                            &(struct entry_hash){hash.high64, hash.low64}, facts);
    assert_true(entry == NULL || (size_t)(bytes + ROOM - entry) <= room);
    assert_true(bytes[ROOM - room - 1] == '#');
    return entry;
}

/* The same comes of a body that is not copied, if there is just room. */
static void check_around(const struct buf *entry, const struct entry_facts *facts, const char *body,
                         size_t len)
{
    size_t before = entry->len - len;

    assert_memory_equal(around(body, len, before, facts), entry->data, entry->len);
    assert_memory_equal(around(body, len, ROOM - 1, facts), entry->data, entry->len);
    assert_null(around(body, len, before - 1, facts));
}

/* Bytes of every value in the body, and times that 16 digits cannot hold. */
static void test_round_trip(void **state)
{
    static const struct {
        int64_t given;
        int64_t kept;
    } times[] = {
        {1, 1},
        {-1, 0},
        {INT64_C(9999999999999999), INT64_C(9999999999999999)},
        {INT64_C(10000000000000000), INT64_C(9999999999999999)},
        {INT64_MAX, INT64_C(9999999999999999)},
    };
    struct entry_facts facts = usual_facts();
    char body[256];

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)i;
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        struct buf out;
        struct cache_entry entry;
        buf_init(&out, NULL, 0);
        facts.snapshot_us = facts.arrival_us = times[i].given;
        entry_encode(&out, &facts, body, sizeof body);
        check(entry_decode(out.data, out.len, facts.key, &entry) == 0, "case %zu", i);
        check(entry.snapshot_us == times[i].kept, "case %zu: %" PRId64, i, entry.snapshot_us);
        check(entry_arrival_us(&entry) == times[i].kept, "case %zu", i);
        check(entry.body_len == sizeof body, "case %zu: %zu", i, entry.body_len);
        assert_memory_equal(entry.body, body, sizeof body);
        check_around(&out, &facts, body, sizeof body);
        talloc_free(out.data);
    }
}

static void test_around_a_body(void **state)
{
    struct entry_facts facts = usual_facts();
    struct buf out;

    (void)state;
    buf_init(&out, NULL, 0);
    facts.tags = "a\nbc\n";
    entry_encode(&out, &facts, "[1]", 3);
    check_around(&out, &facts, "[1]", 3);
    facts.coding = coding_of("gzip", 4);
    facts.coding_from_bytes = 4;
    buf_clear(&out);
    entry_encode(&out, &facts, "[1]", 3);
    check_around(&out, &facts, "[1]", 3);
    facts.coding_from_bytes = 3;
    assert_null(around("[1]", 3, ROOM - 1, &facts));
    talloc_free(out.data);
}

/* What a server says of its run id cannot break the line, whatever it is. */
static void test_strange_run_ids(void **state)
{
    static const struct {
        const char *given, *kept;
    } cases[] = {
        {"abc", "abc-------------------------------------"},
        {"a b\nc", "abc-------------------------------------"},
        {RUN_ID RUN_ID, RUN_ID},
        {"\xff\x01", NO_RUN},
    };
    struct entry_facts facts = usual_facts();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct cache_entry entry;
        struct buf out;
        buf_init(&out, NULL, 0);
        facts.clock = cases[i].given;
        entry_encode(&out, &facts, "{}", 2);
        check(entry_decode(out.data, out.len, facts.key, &entry) == 0, "case %zu", i);
        check(memcmp(entry.clock, cases[i].kept, ENTRY_CLOCK_BYTES) == 0, "case %zu: %.40s", i,
              entry.clock);
        talloc_free(out.data);
    }
}

/* ---- Codings */

/* Rows that compress well; the caller frees it. */
static char *make_rows(size_t rows)
{
    char *body = talloc_strdup(NULL, "[");

    for (size_t i = 0; i < rows; i++)
        body = talloc_asprintf_append(body, "%s{\"id\":%zu,\"name\":\"name %zu\"}",
                                      i > 0 ? "," : "", i, i * 7919 % 1000);
    return talloc_strdup_append(body, "]");
}

static void test_coded(void **state)
{
    const struct coding *gzip = coding_of("gzip", 4);
    struct entry_facts facts = usual_facts();
    char *body = make_rows(200), etag[ENTRY_ETAG_BYTES + 1];
    size_t len = strlen(body);
    char *decoded = talloc_size(body, len);
    struct cache_entry entry;
    struct buf out;

    (void)state;
    assert_non_null(gzip);
    facts.coding = gzip;
    facts.varies = true;
    buf_init(&out, body, 0);
    entry_encode(&out, &facts, body, len);
    assert_int_equal(entry_decode(out.data, out.len, facts.key, &entry), 0);
    assert_ptr_equal(entry.coding, gzip);
    assert_int_equal(entry.plain_len, len);
    assert_true(entry.body_len < len / 3);
    assert_non_null(strstr(entry.head, "\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n"));
    assert_true(gzip->decode(decoded, len, entry.body, entry.body_len));
    assert_memory_equal(decoded, body, len);
    entry_etag_of(body, len, etag);
    check_etag(&entry, true, etag);
    entry_etag_of(entry.body, entry.body_len, etag);
    check_etag(&entry, false, etag);
    talloc_free(body);
}

/* Stored as it is: what is shorter than it is to be, what does not save a tenth, no 200, a context
   without a coding. */
static void test_not_coded(void **state)
{
    const struct coding *gzip = coding_of("gzip", 4);
    const struct {
        size_t rows;
        size_t from;
        int status;
        bool coding;
        bool coded;
    } cases[] = {
        {200, 1, 200, true, true},  {200, 1, 200, false, false},     {200, 1, 404, true, false},
        {200, 1, 410, true, false}, {200, 100000, 200, true, false}, {1, 1, 200, true, false},
        {0, 1, 200, true, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct entry_facts facts = usual_facts();
        char *body = make_rows(cases[i].rows);
        struct cache_entry entry;
        struct buf out;
        buf_init(&out, body, 0);
        facts.coding = cases[i].coding ? gzip : NULL;
        facts.coding_from_bytes = cases[i].from;
        facts.status = cases[i].status;
        entry_encode(&out, &facts, body, strlen(body));
        check(entry_decode(out.data, out.len, facts.key, &entry) == 0, "case %zu", i);
        check((entry.coding != NULL) == cases[i].coded, "case %zu", i);
        check(entry.plain_len == strlen(body), "case %zu", i);
        talloc_free(body);
    }
}

static void test_the_shortest_that_is_coded(void **state)
{
    struct entry_facts facts = usual_facts();
    char *body = make_rows(200);

    (void)state;
    facts.coding = coding_of("gzip", 4);
    for (size_t more = 0; more < 2; more++) {
        struct cache_entry entry;
        struct buf out;
        facts.coding_from_bytes = strlen(body) + more;
        buf_init(&out, body, 0);
        entry_encode(&out, &facts, body, strlen(body));
        assert_int_equal(entry_decode(out.data, out.len, facts.key, &entry), 0);
        assert_int_equal(entry.coding != NULL, more == 0);
    }
    talloc_free(body);
}

/* What does not decode to the length that was stated, or leaves something behind, is refused. */
static void test_unsound_bodies(void **state)
{
    const struct coding *gzip = coding_of("gzip", 4);
    char *body = make_rows(50), *room = talloc_size(body, 100000);
    size_t len = strlen(body);
    struct buf coded;

    (void)state;
    buf_init(&coded, body, 0);
    coding_code_anyhow(gzip, &coded, body, len);
    assert_true(gzip->decode(room, len, coded.data, coded.len));
    assert_false(gzip->decode(room, len - 1, coded.data, coded.len));
    assert_false(gzip->decode(room, len + 1, coded.data, coded.len));
    assert_false(gzip->decode(room, 0, coded.data, coded.len));
    for (size_t cut = 0; cut < coded.len; cut++)
        assert_false(gzip->decode(room, len, coded.data, cut));
    for (size_t at = 10; at < coded.len; at++) {
        coded.data[at] ^= 1;
        assert_false(gzip->decode(room, len, coded.data, coded.len));
        coded.data[at] ^= 1;
    }
    buf_append_char(&coded, 'x');
    assert_false(gzip->decode(room, len, coded.data, coded.len));
    talloc_free(body);
}

static void test_anything_can_be_coded(void **state)
{
    const struct coding *gzip = coding_of("gzip", 4);
    char noise[1000], back[1000];

    (void)state;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)((i * 2654435761U) >> 13);
    for (size_t len = 0; len <= sizeof noise; len++) {
        struct buf coded;
        buf_init(&coded, NULL, 0);
        coding_code_anyhow(gzip, &coded, noise, len);
        check(gzip->decode(back, len, coded.data, coded.len), "%zu bytes", len);
        assert_memory_equal(noise, back, len);
        talloc_free(coded.data);
    }
}

/* ---- Damage */

static void test_every_cut_is_seen(void **state)
{
    struct cache_entry entry;

    (void)state;
    for (size_t len = 0; len < strlen(found); len++)
        check(entry_decode(found, len, entry_key(base), &entry) == -1, "%zu bytes", len);
    /* one byte too many: the NUL behind it */
    assert_int_equal(entry_decode(found, sizeof found, entry_key(base), &entry), -1);
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
        {2, "1"},
        {2, "3"},
        {3, "1"},
        {4, "-"},
        {4, " "},
        {19, ":"},
        {19, "/"},
        {20, "0"},
        {37, "0"},
        {78, "0"},
        {79, "201"},
        {79, "304"},
        {79, " 20"},
        {82, "0"},
        {83, "identite"},
        {83, "zstd    "}, /* not known here */
        {83, "        "},
        {91, "0"},
        {92, "f"},
        {107, "D"},
        {108, "0"},
        {141, "0"},
        {174, "0"},
        {175, "-00000"},
        {175, "000001"},
        {182, "+00095"},
        {182, "000094"},
        {182, "000096"},
        {182, "999999"},
        {188, "0"},
        {189, "-"},
        {189, "000000007"},
        {189, "000000009"},
        {189, "999999999"},
        {199, "000000007"},
        {199, "000000009"},
        {208, " "},
        {182, "000000 000000103 000000103"}, /* all of it body */
        {182, "000103 000000000 000000000"}, /* all of it head */
        {182, "000003 000000100 000000100"},
        {175, "000095 000000"}, /* all of the head tags */
    };
    char bytes[sizeof found];
    struct cache_entry entry;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        memcpy(bytes, found, sizeof found);
        memcpy(bytes + cases[i].at, cases[i].bytes, strlen(cases[i].bytes));
        check(entry_decode(bytes, strlen(found), entry_key(base), &entry) == -1, "case %zu", i);
    }
}

/* Room is made for what an entry states: that has a bound. */
static void test_lengths_that_cannot_be(void **state)
{
    static const struct {
        const char *lengths;
        int result;
    } cases[] = {
        {"000000008 000008264", 0},  {"000000008 000009287", 0}, {"000000008 000009288", -1},
        {"000000008 999999999", -1}, {"000000008 000000000", 0}, {"000000008 000000001", 0},
    };
    char bytes[sizeof found];
    struct cache_entry entry;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        memcpy(bytes, found, sizeof found);
        memcpy(bytes + 83, "gzip    ", 8);
        memcpy(bytes + 189, cases[i].lengths, 19);
        check(entry_decode(bytes, strlen(found), entry_key(base), &entry) == cases[i].result,
              "case %zu", i);
    }
}

/* Digits of a tag, and of the arrival, are looked at when they are needed: what is none says
   nothing. */
static void test_damage_of_what_is_read_late(void **state)
{
    char bytes[sizeof found];
    struct cache_entry entry;

    (void)state;
    memcpy(bytes, found, sizeof found);
    bytes[109] = 'G';
    bytes[172] = '\r';
    bytes[36] = ':';
    assert_int_equal(entry_decode(bytes, strlen(found), entry_key(base), &entry), 0);
    check_etag(&entry, true, "");
    check_etag(&entry, false, "");
    assert_int_equal(entry_arrival_us(&entry), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_bytes),
        cmocka_unit_test(test_decoding),
        cmocka_unit_test(test_another_key),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_around_a_body),
        cmocka_unit_test(test_strange_run_ids),
        cmocka_unit_test(test_coded),
        cmocka_unit_test(test_not_coded),
        cmocka_unit_test(test_the_shortest_that_is_coded),
        cmocka_unit_test(test_unsound_bodies),
        cmocka_unit_test(test_anything_can_be_coded),
        cmocka_unit_test(test_every_cut_is_seen),
        cmocka_unit_test(test_damage_is_seen),
        cmocka_unit_test(test_lengths_that_cannot_be),
        cmocka_unit_test(test_damage_of_what_is_read_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
