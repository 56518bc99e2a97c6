/* SPDX-License-Identifier: BSD-2-Clause */
/* How many lines are let through, of one kind and of many, and that none is left out unsaid. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log_limit.h"

enum { SECOND_US = 1000 * 1000 };

static const struct log_kind kind = {.level = 2, .message = "it is", .key = "route", .text = "/a"};

/* Line by line, of one kind. */
static void test_one_kind(void **state)
{
    static const struct {
        int64_t at_us;
        int lines;          /* caused then */
        int written;        /* of those */
        int64_t suppressed; /* said with the first that is written */
    } steps[] = {
        {0, 10, 10, 0},
        {0, 5, 0, 0},
        {999999, 1, 0, 0},
        {1000000, 3, 1, 6},
        {1999999, 1, 0, 0},
        {2000000, 1, 1, 3},
        {3500000, 2, 1, 0},
        {4000000, 1, 1, 1}, /* the half second before was not lost */
        /* ten seconds without a line, and the burst is there again, and no more than that */
        {100000000, 12, 10, 0},
        {101000000, 1, 1, 2},
    };
    struct log_limit *limit = log_limit_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        int written = 0;
        int64_t suppressed, said = 0;

        for (int line = 0; line < steps[i].lines; line++) {
            if (log_limit_allows(limit, &kind, steps[i].at_us, &suppressed)) {
                written++;
                said += suppressed;
            }
        }
        check(written == steps[i].written && said == steps[i].suppressed,
              "step %zu: %d written, %" PRId64 " said", i, written, said);
    }
    talloc_free(limit);
}

static int write_many(struct log_limit *limit, const char *message, const char *text, int lines)
{
    const struct log_kind other = {.message = message, .key = "route", .text = text};
    int written = 0;
    int64_t suppressed;

    for (int i = 0; i < lines; i++)
        written += log_limit_allows(limit, &other, 0, &suppressed);
    return written;
}

static void test_kinds_do_not_share(void **state)
{
    struct log_limit *limit = log_limit_new(NULL);

    (void)state;
    assert_int_equal(write_many(limit, "a", "/a", 20), LOG_LIMIT_BURST);
    assert_int_equal(write_many(limit, "a", "/b", 20), LOG_LIMIT_BURST);
    assert_int_equal(write_many(limit, "b", "/a", 20), LOG_LIMIT_BURST);
    assert_int_equal(write_many(limit, "a", "", 20), LOG_LIMIT_BURST);
    assert_int_equal(write_many(limit, "a/", "b", 20), LOG_LIMIT_BURST);
    assert_int_equal(write_many(limit, "a", "/a", 20), 0);
    talloc_free(limit);
}

static void test_what_was_left_out_is_told_once(void **state)
{
    struct log_limit *limit = log_limit_new(NULL);
    struct log_kind told;
    int64_t suppressed = 0;

    (void)state;
    assert_int_equal(log_limit_take_suppressed(limit, 0, &told, &suppressed), 0);
    for (int i = 0; i < 25; i++)
        (void)log_limit_allows(limit, &kind, SECOND_US, &suppressed);
    assert_int_equal(log_limit_take_suppressed(limit, SECOND_US, &told, &suppressed), 0);
    assert_int_equal(log_limit_take_suppressed(limit, 2 * SECOND_US, &told, &suppressed), 1);
    assert_int_equal(suppressed, 15);
    assert_string_equal(told.message, kind.message);
    assert_string_equal(told.key, kind.key);
    assert_string_equal(told.text, kind.text);
    assert_int_equal(told.level, kind.level);
    assert_int_equal(log_limit_take_suppressed(limit, 30 * SECOND_US, &told, &suppressed), 0);
    assert_true(log_limit_allows(limit, &kind, 30 * SECOND_US, &suppressed));
    assert_int_equal(suppressed, 0);
    talloc_free(limit);
}

/* More kinds than there is room for: the limit holds for what is beyond, and every line is either
   written or counted. */
static void test_more_kinds_than_room(void **state)
{
    enum { KINDS = LOG_LIMIT_KINDS + 50, LINES = 30 };
    struct log_limit *limit = log_limit_new(NULL);
    struct log_kind told;
    int64_t written = 0, left_out = 0, suppressed;
    int kinds_told = 0;

    (void)state;
    for (int line = 0; line < LINES; line++) {
        for (int i = 0; i < KINDS; i++) {
            char text[16];
            snprintf(text, sizeof text, "/%d", i);
            const struct log_kind one = {.message = "it is", .key = "route", .text = text};
            if (log_limit_allows(limit, &one, line, &suppressed)) {
                written++;
                left_out += suppressed;
            }
        }
    }
    check(written == (LOG_LIMIT_KINDS + 1) * LOG_LIMIT_BURST, "%" PRId64, written);
    while (log_limit_take_suppressed(limit, 30 * SECOND_US, &told, &suppressed) == 1) {
        left_out += suppressed;
        kinds_told++;
    }
    assert_null(told.message);
    assert_int_equal(kinds_told, LOG_LIMIT_KINDS + 1);
    assert_int_equal(written + left_out, KINDS * LINES);
    /* all are idle by now: another finds room of its own */
    for (int i = 0; i < LOG_LIMIT_BURST; i++)
        assert_true(log_limit_allows(limit, &kind, 90 * SECOND_US, &suppressed));
    assert_false(log_limit_allows(limit, &kind, 90 * SECOND_US, &suppressed));
    talloc_free(limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_kind),
        cmocka_unit_test(test_kinds_do_not_share),
        cmocka_unit_test(test_what_was_left_out_is_told_once),
        cmocka_unit_test(test_more_kinds_than_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
