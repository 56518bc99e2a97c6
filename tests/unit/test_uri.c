/* SPDX-License-Identifier: BSD-2-Clause */
/* Percent-encoding, splitting of targets, mounts and query pairs. */
#include "config.h"

#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "http/uri.h"

static struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static bool slice_is(struct slice slice, const char *text)
{
    if (text == NULL || slice.data == NULL)
        return text == NULL && slice.data == NULL && slice.len == 0;
    return slice.len == strlen(text) && memcmp(slice.data, text, slice.len) == 0;
}

static void test_decode(void **state)
{
    static const struct {
        const char *raw, *path, *query; /* NULL: refused */
    } cases[] = {
        {"", "", ""},
        {"abc", "abc", "abc"},
        {"a+b", "a+b", "a b"},
        {"a%2Bb", "a+b", "a+b"},
        {"a%20b", "a b", "a b"},
        {"%2f%2F", "//", "//"},
        {"%41%4a%4A%61", "AJJa", "AJJa"},
        {"%25", "%", "%"},
        {"%2525", "%25", "%25"},
        {"caf%C3%A9", "caf\xc3\xa9", "caf\xc3\xa9"},
        {"caf\xc3\xa9", "caf\xc3\xa9", "caf\xc3\xa9"},
        {"\xc3%A9", "\xc3\xa9", "\xc3\xa9"},
        {"%F0%9F%98%80", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"%", NULL, NULL},
        {"a%", NULL, NULL},
        {"%4", NULL, NULL},
        {"%4g", NULL, NULL},
        {"%g4", NULL, NULL},
        {"%%41", NULL, NULL},
        {"% 41", NULL, NULL},
        {"%+1", NULL, NULL},
        {"%-1", NULL, NULL},
        {"%u0041", NULL, NULL},
        {"a%00b", NULL, NULL},
        {"%00", NULL, NULL},
        {"%80", NULL, NULL},
        {"%C3", NULL, NULL},
        {"\xc3", NULL, NULL},
        {"%C0%AF", NULL, NULL},
        {"%ED%A0%80", NULL, NULL},
        {"%F4%90%80%80", NULL, NULL},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *const expected[] = {cases[i].path, cases[i].query};
        for (int how = URI_DECODE_PATH; how <= URI_DECODE_QUERY; how++) {
            size_t len = 0;
            char *text = uri_decode(ctx, slice_of(cases[i].raw), (enum uri_decode)how, &len);
            if (expected[how] == NULL)
                check(text == NULL, "\"%s\" gave \"%s\"", cases[i].raw, text);
            else
                check(text != NULL && strcmp(text, expected[how]) == 0 && len == strlen(text),
                      "\"%s\" gave \"%s\", %zu", cases[i].raw, text, len);
        }
    }
    talloc_free(ctx);
}

static void test_decode_stays_within_its_slice(void **state)
{
    const struct slice cut = {"a%41", 3}, nul = {"a\0b", 3}, none = {NULL, 0};
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    assert_null(uri_decode(ctx, cut, URI_DECODE_PATH, NULL));
    assert_null(uri_decode(ctx, nul, URI_DECODE_PATH, NULL));
    assert_string_equal(uri_decode(ctx, none, URI_DECODE_PATH, NULL), "");
    talloc_free(ctx);
}

static void test_encode(void **state)
{
    static const struct {
        const char *text, *encoded;
    } cases[] = {
        {"", ""},
        {"azAZ09-._~", "azAZ09-._~"},
        {" +&=%", "%20%2B%26%3D%25"},
        {"{}:/", "%7B%7D%3A%2F"},
        {"\x01\x7f", "%01%7F"},
        {"\xc3\xa9", "%C3%A9"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf out;
        buf_init(&out, ctx, 1);
        uri_encode(&out, cases[i].text, strlen(cases[i].text));
        check(strcmp(out.data, cases[i].encoded) == 0, "\"%s\" gave \"%s\"", cases[i].text,
              out.data);
    }
    talloc_free(ctx);
}

static void test_every_byte_returns(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct buf out;

    (void)state;
    for (int byte = 1; byte < 0x80; byte++) {
        const char text[] = {(char)byte, '\0'};
        buf_init(&out, ctx, 0);
        uri_encode(&out, text, 1);
        for (int how = URI_DECODE_PATH; how <= URI_DECODE_QUERY; how++)
            assert_string_equal(
                uri_decode(ctx, (struct slice){out.data, out.len}, (enum uri_decode)how, NULL),
                text);
    }
    talloc_free(ctx);
}

static void test_split(void **state)
{
    static const struct {
        const char *target, *path, *query;
    } cases[] = {
        {"/", "/", NULL},
        {"/a/b?x=1", "/a/b", "x=1"},
        {"/a?", "/a", ""},
        {"/a?x?y", "/a", "x?y"},
        {"/a%3Fb", "/a%3Fb", NULL},
        {"/a%23b?c%23", "/a%23b", "c%23"},
        {"//host/a", "//host/a", NULL},
        {"/http://host/a", "/http://host/a", NULL},
        {"http://host/a?x", "/a", "x"},
        {"https://u@[::1]:8080/a", "/a", NULL},
        {"http://host", "/", NULL},
        {"http://host?x=1", "/", "x=1"},
        {"http://host?x=/1", "/", "x=/1"},
        {"http:/a", "http:/a", NULL},
        {"://host/a", "://host/a", NULL},
        {"*", "*", NULL},
        {"", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice path, query;
        bool whole = uri_split(cases[i].target, &path, &query);
        check(whole, "\"%s\" has no fragment", cases[i].target);
        check(slice_is(path, cases[i].path), "path of \"%s\"", cases[i].target);
        check(slice_is(query, cases[i].query), "query of \"%s\"", cases[i].target);
    }
}

static void test_fragments(void **state)
{
    static const char *const targets[] = {"#",    "/#",  "/a#b",         "/a#b?c",         "/a?b#c",
                                          "/a?#", "/##", "http://host#", "http://host/#a", "*#"};
    struct slice path, query;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(targets); i++)
        check(!uri_split(targets[i], &path, &query), "\"%s\"", targets[i]);
}

/* What a server has decoded is the same after it is decoded here. */
static void test_encode_path(void **state)
{
    static const struct {
        const char *path, *encoded;
    } cases[] = {
        {"", ""},
        {"/a/b", "/a/b"},
        {"/a b+c", "/a b+c"},
        {"%", "%25"},
        {"/%41/%", "/%2541/%25"},
        {"%%a%%", "%25%25a%25%25"},
        {"/caf\xc3\xa9", "/caf\xc3\xa9"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf out;
        buf_init(&out, ctx, 0);
        uri_encode_path(&out, cases[i].path);
        check(strcmp(out.data, cases[i].encoded) == 0, "\"%s\" gave \"%s\"", cases[i].path,
              out.data);
        assert_string_equal(uri_decode(ctx, slice_of(out.data), URI_DECODE_PATH, NULL),
                            cases[i].path);
    }
    talloc_free(ctx);
}

static void test_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *bytes;
        bool begins;
        size_t len;
    } cases[] = {
        {"/api/metrics", "/api", true, 4},
        {"/api", "/api", true, 4},
        {"/x", "", true, 0},
        {"/%61pi/metrics", "/api", false, 0},
        {"/ap", "/api", false, 0},
        {"//api", "/api", false, 0},
        {"/my%20api/health", "/my api", true, 9},
        {"/m%79%20api/health", "/my api", false, 0},
        {"/my%2", "/my ", false, 0},
        {"/%C3%A4/x", "/\xc3\xa4", true, 7},
        {"/%c3%a4/x", "/\xc3\xa4", true, 7},
        {"/\xc3\xa4/x", "/\xc3\xa4", true, 3},
        {"/a%2Fb", "/a/b", false, 0},
        {"/a%3Bb", "/a;b", false, 0},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len;
        bool begins = uri_begins_with(slice_of(cases[i].path), cases[i].bytes, &len);
        check(begins == cases[i].begins && (!begins || len == cases[i].len), "case %zu", i);
    }
}

static void test_mount(void **state)
{
    static const struct {
        const char *path, *mount, *below; /* NULL: not below */
    } cases[] = {
        {"/a", "", "/a"},
        {"/", "", "/"},
        {"", "", "/"},
        {"a", "", NULL},
        {"*", "", NULL},
        {"/api/v1/a/b", "/api/v1", "/a/b"},
        {"/api/v1/", "/api/v1", "/"},
        {"/api/v1", "/api/v1", "/"},
        {"/api/v1//a", "/api/v1", "//a"},
        {"/api/v17", "/api/v1", NULL},
        {"/api/v17/a", "/api/v1", NULL},
        {"/api/v", "/api/v1", NULL},
        {"/api", "/api/v1", NULL},
        {"/", "/api/v1", NULL},
        {"", "/api/v1", NULL},
        {"/API/v1/a", "/api/v1", NULL},
        {"//api/v1/a", "/api/v1", NULL},
        {"/x/api/v1/a", "/api/v1", NULL},
        {"/%61pi/v%31/%61", "/api/v1", "/%61"},
        {"/api%2Fv1/a", "/api/v1", NULL},
        {"/api/v1%2Fa", "/api/v1", NULL},
        {"/api%/a", "/api", NULL},
        {"/caf%C3%A9/a", "/caf\xc3\xa9", "/a"},
        {"/caf\xc3\xa9/a", "/caf%c3%a9", "/a"},
        {"/a%2fb/c", "/a%2Fb", "/c"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice below = {NULL, 0};
        bool is_below = uri_below_mount(slice_of(cases[i].path), cases[i].mount, &below);
        check(is_below == (cases[i].below != NULL) && slice_is(below, cases[i].below),
              "\"%s\" below \"%s\"", cases[i].path, cases[i].mount);
    }
}

static void test_pairs(void **state)
{
    static const struct {
        const char *query;
        const char *pairs[7]; /* name, value, name, value ... NULL */
    } cases[] = {
        {"", {NULL}},
        {"&&&", {NULL}},
        {"a=1", {"a", "1", NULL}},
        {"a", {"a", "", NULL}},
        {"a=", {"a", "", NULL}},
        {"=1", {"", "1", NULL}},
        {"=", {"", "", NULL}},
        {"a=1&b=2&a=3", {"a", "1", "b", "2", "a", "3", NULL}},
        {"&a=1&&b=2&", {"a", "1", "b", "2", NULL}},
        {"a=b=c", {"a", "b=c", NULL}},
        {"a;b=1", {"a;b", "1", NULL}},
        {"a%26b=%3D", {"a%26b", "%3D", NULL}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice rest = slice_of(cases[i].query), name, value;
        const char *const *expected = cases[i].pairs;
        for (; uri_next_pair(&rest, &name, &value); expected += 2) {
            check(expected[0] != NULL, "\"%s\" has too many pairs", cases[i].query);
            check(slice_is(name, expected[0]) && slice_is(value, expected[1]), "\"%s\" before %s",
                  cases[i].query, expected[0]);
        }
        check(expected[0] == NULL, "\"%s\" lacks %s", cases[i].query, expected[0]);
    }
    struct slice absent = {NULL, 0}, name, value;
    assert_false(uri_next_pair(&absent, &name, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),    cmocka_unit_test(test_decode_stays_within_its_slice),
        cmocka_unit_test(test_encode),    cmocka_unit_test(test_every_byte_returns),
        cmocka_unit_test(test_split),     cmocka_unit_test(test_mount),
        cmocka_unit_test(test_pairs),     cmocka_unit_test(test_encode_path),
        cmocka_unit_test(test_fragments), cmocka_unit_test(test_spelling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
