/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers, durations, sizes, UTF-8 and the byte buffer. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/utf8.h"

static void test_integers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"0x10", false, 0},
        {"1e3", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t value = 0;
        bool ok = num_parse_i64(cases[i].text, strlen(cases[i].text), &value);
        check(ok == cases[i].ok && value == cases[i].value, "\"%s\" gave %d, %" PRId64,
              cases[i].text, ok, value);
    }
}

static void test_durations_and_sizes(void **state)
{
    static const struct {
        const char *text;
        int64_t duration_ms; /* -1: refused */
        int64_t size;
    } cases[] = {
        {"0", 0, 0},          {"0s", 0, -1},        {"250ms", 250, -1},
        {"30s", 30000, -1},   {"2m", 120000, -1},   {"1h", 3600000, -1},
        {"1d", 86400000, -1}, {"010s", 10000, -1},  {"30", -1, 30},
        {"64kb", -1, 65536},  {"1mb", -1, 1048576}, {"10 mb", -1, -1},
        {"1S", -1, -1},       {"-1s", -1, -1},      {"1.5s", -1, -1},
        {"", -1, -1},         {"ms", -1, -1},       {"9223372036854775807d", -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t duration_ms = 0, size = 0;
        if (!num_parse_duration_ms(cases[i].text, &duration_ms))
            duration_ms = -1;
        if (!num_parse_size(cases[i].text, &size))
            size = -1;
        check(duration_ms == cases[i].duration_ms, "\"%s\" as a duration", cases[i].text);
        check(size == cases[i].size, "\"%s\" as a size", cases[i].text);
    }
}

static void test_utf8(void **state)
{
    static const struct {
        const char *bytes;
        ssize_t length;
    } cases[] = {
        {"", 0},
        {"abc", 3},
        {"\xc3\xa9", 1},
        {"\xe2\x82\xac", 1},
        {"\xf0\x9f\x98\x80!", 2},
        {"\xf4\x8f\xbf\xbf", 1},
        {"\xc0\xaf", -1},         /* overlong */
        {"\xe0\x80\xaf", -1},     /* overlong */
        {"\xf0\x80\x80\xaf", -1}, /* overlong */
        {"\xed\xa0\x80", -1},     /* surrogate */
        {"\xf4\x90\x80\x80", -1}, /* above U+10FFFF */
        {"\xc3", -1},
        {"\xe2\x82", -1},
        {"\x80", -1},
        {"\xff", -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        ssize_t length = utf8_length(cases[i].bytes, strlen(cases[i].bytes));
        check(length == cases[i].length, "case %zu gave %zd", i, length);
    }
    assert_int_equal(utf8_length("a\0b", 3), 3);
}

static void test_buffer(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct buf buf;

    (void)state;
    buf_init(&buf, ctx, 0);
    assert_null(buf.data);
    for (int i = 0; i < 1000; i++)
        buf_printf(&buf, "%03d,", i);
    assert_int_equal(buf.len, 4000);
    assert_memory_equal(buf.data + 3996, "999,", 5);
    buf_consume(&buf, 3996);
    assert_string_equal(buf.data, "999,");
    buf_clear(&buf);
    assert_string_equal(buf.data, "");
    buf_append(&buf, "a\0b", 3);
    assert_int_equal(buf.len, 3);
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_durations_and_sizes),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
