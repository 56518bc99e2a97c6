/* SPDX-License-Identifier: BSD-2-Clause */
/* What processes say of themselves, and what follows from it. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "cache/peer_word.h"

static void test_words(void **state)
{
    static const struct {
        struct peer_word word;
        const char *text;
    } cases[] = {
        {{.is_worker = true, .host = "a.1", .version = "1.2"}, "1 worker a.1 1.2 -"},
        {{.host = "b", .version = "3", .codes = PEER_POSTGRES}, "1 refresher b 3 postgres"},
        {{.is_worker = true, .host = "c", .version = "4", .codes = PEER_CODES},
         "1 worker c 4 postgres,redis,refresher,identity,draining"},
        {{.is_worker = true, .host = "d", .version = "5", .doubts = PEER_REFRESHER, .heard_ms = 17},
         "1 worker d 5 refresher?,heard=17"},
        {{.host = "e", .version = "6", .codes = PEER_REDIS, .doubts = PEER_POSTGRES},
         "1 refresher e 6 postgres?,redis"},
        {{.host = "f", .version = "7", .heard_ms = 999999999}, "1 refresher f 7 heard=999999999"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[PEER_WORD_BYTES];
        struct peer_word read;
        assert_int_equal(peer_word_write(&cases[i].word, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
        assert_int_equal(peer_word_read(text, strlen(text), &read), 0);
        assert_memory_equal(&read, &cases[i].word, sizeof read);
    }
}

static void test_the_longest_word_fits(void **state)
{
    struct peer_word word = {.is_worker = true, .doubts = PEER_CODES, .heard_ms = 999999999}, read;
    char text[PEER_WORD_BYTES];

    (void)state;
    memset(word.host, 'h', sizeof word.host - 1);
    memset(word.version, 'v', sizeof word.version - 1);
    assert_true(peer_word_write(&word, text) < sizeof text);
    assert_int_equal(peer_word_read(text, strlen(text), &read), 0);
    assert_memory_equal(&read, &word, sizeof read);
}

static void test_what_is_no_word(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "1",
        "1 worker a 1",
        "1 worker a 1 - more",
        "1 worker  a 1",
        "1 worker a 1 ",
        " 1 worker a 1 -",
        "2 worker a 1 -",
        "1 operator a 1 -",
        /* a name that is too long */
        ("1 worker "
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1 -"),
    };
    struct peer_word word;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        check(peer_word_read(texts[i], strlen(texts[i]), &word) == -1, "\"%s\"", texts[i]);
    assert_int_equal(peer_word_read("1 worker a\0b 1 -", 16, &word), -1);
    /* of a later version */
    assert_int_equal(peer_word_read("1 worker a 1 disk,redis,,x", 26, &word), 0);
    assert_int_equal(word.codes, PEER_REDIS);
    assert_int_equal(
        peer_word_read("1 worker a 1 heard=,?,heard=1x,disk?,heard=99999999999", 54, &word), 0);
    assert_int_equal(word.codes | word.doubts, 0);
    assert_int_equal(word.heard_ms, 0);
}

static void test_who_could_take_over(void **state)
{
    const struct peer_word mine = {.is_worker = true, .host = "a", .codes = PEER_POSTGRES};
    static const struct {
        struct peer_word theirs;
        unsigned free_of;
    } cases[] = {
        {{.is_worker = true, .host = "b"}, PEER_CODES},
        {{.is_worker = true, .host = "b", .codes = PEER_POSTGRES}, PEER_CODES & ~PEER_POSTGRES},
        {{.is_worker = true, .host = "b", .doubts = PEER_POSTGRES}, PEER_CODES & ~PEER_POSTGRES},
        /* of the same host, no worker, one that answers nothing or soon nothing */
        {{.is_worker = true, .host = "a"}, 0},
        {{.is_worker = false, .host = "b"}, 0},
        {{.is_worker = true, .host = "b", .codes = PEER_IDENTITY}, 0},
        {{.is_worker = true, .host = "b", .codes = PEER_DRAINING}, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(peer_free_of(&mine, &cases[i].theirs) == cases[i].free_of, "case %zu", i);
}

static void test_names(void **state)
{
    char text[] = "a B-9_c.d\n{}:*\xc3";

    (void)state;
    peer_text_clean(text);
    assert_string_equal(text, "a_B-9_c.d______");
    assert_string_equal(peer_code_name(PEER_POSTGRES), "postgres");
    assert_string_equal(peer_code_name(PEER_DRAINING), "draining");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),           cmocka_unit_test(test_the_longest_word_fits),
        cmocka_unit_test(test_what_is_no_word), cmocka_unit_test(test_who_could_take_over),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
