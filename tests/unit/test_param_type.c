/* SPDX-License-Identifier: BSD-2-Clause */
/* What every parameter type takes, and its canonical form. */
#include "config.h"

#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "route/param.h"

#define ZEROS_62 "00000000000000000000000000000000000000000000000000000000000000"
#define NINES_62 "99999999999999999999999999999999999999999999999999999999999999"
#define UUID     "0f8fad5b-d9cb-469f-a165-70867728950e"
#define E_ACUTE  "\xc3\xa9"
#define EMOTICON "\xf0\x9f\x98\x80"

static const char *shown(const char *text)
{
    return text != NULL ? text : "(null)";
}

struct value_case {
    const char *text, *canonical; /* canonical NULL: refused */
};

static void check_values(const struct param_spec *spec, const struct value_case *cases,
                         size_t count)
{
    TALLOC_CTX *ctx = talloc_new(NULL);

    for (size_t i = 0; i < count; i++) {
        const char *result = param_canonical(ctx, spec, cases[i].text);
        if (cases[i].canonical == NULL) {
            check(result == NULL, "\"%s\" gave \"%s\"", cases[i].text, shown(result));
            continue;
        }
        check(result != NULL && strcmp(result, cases[i].canonical) == 0, "\"%s\" gave \"%s\"",
              cases[i].text, shown(result));
        const char *again = param_canonical(ctx, spec, result);
        check(again != NULL && strcmp(again, result) == 0, "\"%s\" is not stable", result);
    }
    talloc_free(ctx);
}

static void test_int(void **state)
{
    static const struct param_spec any = {.type = PARAM_INT},
                                   some = {.type = PARAM_INT, .min = "-5", .max = "010"};
    static const struct value_case of_any[] = {
        {"0", "0"},
        {"7", "7"},
        {"007", "7"},
        {"-007", "-7"},
        {"-0", "0"},
        {ZEROS_62 "1", "1"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", NULL},
        {"-9223372036854775809", NULL},
        {NINES_62, NULL},
        {"+1", NULL},
        {"", NULL},
        {"-", NULL},
        {"--1", NULL},
        {" 1", NULL},
        {"1 ", NULL},
        {"1.0", NULL},
        {"1e3", NULL},
        {"0x1", NULL},
        {"\xd9\xa1", NULL},
    };
    static const struct value_case of_some[] = {
        {"-5", "-5"}, {"10", "10"}, {"-6", NULL}, {"11", NULL}, {"0", "0"}};

    (void)state;
    check_values(&any, of_any, COUNT_OF(of_any));
    check_values(&some, of_some, COUNT_OF(of_some));
}

static void test_number(void **state)
{
    static const struct param_spec any = {.type = PARAM_NUMBER};
    static const struct value_case cases[] = {
        {"0", "0"},
        {"-0", "0"},
        {"-0.0", "0"},
        {"000.000", "0"},
        {"1.0", "1"},
        {"1.10", "1.1"},
        {"01.5", "1.5"},
        {"-01.50", "-1.5"},
        {"10", "10"},
        {"100.00", "100"},
        {"0.05", "0.05"},
        {"-0.05", "-0.05"},
        {"9223372036854775808.5", "9223372036854775808.5"},
        {"12" NINES_62, "12" NINES_62},
        {"1." NINES_62 "9", "1." NINES_62 "9"},
        {"-1." NINES_62 "9", "-1." NINES_62 "9"},
        {"123" NINES_62, NULL},
        {"1." NINES_62 "99", NULL},
        {"000" ZEROS_62, NULL},
        {".5", NULL},
        {"5.", NULL},
        {".", NULL},
        {"-", NULL},
        {"", NULL},
        {"-.5", NULL},
        {"+1", NULL},
        {"1e3", NULL},
        {"1.5e3", NULL},
        {"1..5", NULL},
        {"1.5.5", NULL},
        {"1,5", NULL},
        {" 1", NULL},
        {"1 ", NULL},
        {"--1", NULL},
        {"NaN", NULL},
        {"inf", NULL},
        {"0x1", NULL},
    };

    (void)state;
    check_values(&any, cases, COUNT_OF(cases));
}

static void test_number_bounds(void **state)
{
    static const struct {
        const char *min, *max, *text;
        bool ok;
    } cases[] = {
        {"0.1", NULL, "0.1", true},
        {"0.10", NULL, "0.1", true},
        {"0.1", NULL, "0.09", false},
        {"0.1", NULL, "0.11", true},
        {"0.11", NULL, "0.2", true},
        {"9", NULL, "10", true},
        {NULL, "9", "10", false},
        {NULL, "9.99", "10", false},
        {NULL, "1", "1.0000000000000000000000000000000000001", false},
        {NULL, "0.1", "0.1000000000000000055", false},
        {"-1", NULL, "-1.5", false},
        {"-1.5", NULL, "-1", true},
        {"-10", NULL, "-9", true},
        {"-9", NULL, "-10", false},
        {"-1", NULL, "0", true},
        {NULL, "-1", "0", false},
        {"0", NULL, "-0", true},
        {"0", NULL, "-0.0001", false},
        {NULL, "0", "0.0001", false},
        {"-0", "0.0", "0", true},
        {NULL, "9007199254740993", "9007199254740993", true},
        {NULL, "9007199254740992", "9007199254740993", false},
        {NULL, "12" NINES_62, "13" NINES_62, false},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct param_spec spec = {
            .type = PARAM_NUMBER, .min = cases[i].min, .max = cases[i].max};
        check((param_canonical(ctx, &spec, cases[i].text) != NULL) == cases[i].ok,
              "%s within %s and %s", cases[i].text, shown(spec.min), shown(spec.max));
    }
    talloc_free(ctx);
}

static void test_bool(void **state)
{
    static const struct param_spec spec = {.type = PARAM_BOOL};
    static const struct value_case cases[] = {
        {"true", "true"}, {"false", "false"}, {"1", "true"}, {"0", "false"},  {"TRUE", NULL},
        {"yes", NULL},    {"", NULL},         {"01", NULL},  {"true ", NULL}, {"t", NULL},
    };

    (void)state;
    check_values(&spec, cases, COUNT_OF(cases));
}

static void test_text(void **state)
{
    static const struct param_spec spec = {.type = PARAM_TEXT, .max_length = 3},
                                   none = {.type = PARAM_TEXT, .max_length = 0};
    static const struct value_case cases[] = {
        {"", ""},
        {"abc", "abc"},
        {" a ", " a "},
        {"abcd", NULL},
        {E_ACUTE E_ACUTE E_ACUTE, E_ACUTE E_ACUTE E_ACUTE},
        {EMOTICON EMOTICON EMOTICON, EMOTICON EMOTICON EMOTICON},
        {E_ACUTE "abc", NULL},
        {"\n\t'", "\n\t'"},
        {"\xff", NULL},
        {"\xc3", NULL},
        {"\xed\xa0\x80", NULL},
    };
    static const struct value_case empty[] = {{"", ""}, {"a", NULL}};

    (void)state;
    check_values(&spec, cases, COUNT_OF(cases));
    check_values(&none, empty, COUNT_OF(empty));
}

static void test_uuid(void **state)
{
    static const struct param_spec spec = {.type = PARAM_UUID};
    static const struct value_case cases[] = {
        {UUID, UUID},
        {"0F8FAD5B-D9CB-469F-A165-70867728950E", UUID},
        {"0f8FaD5b-d9CB-469f-A165-70867728950e", UUID},
        {"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"},
        {"ffffffff-ffff-ffff-ffff-ffffffffffff", "ffffffff-ffff-ffff-ffff-ffffffffffff"},
        {"{" UUID "}", NULL},
        {"urn:uuid:" UUID, NULL},
        {UUID "0", NULL},
        {"0f8fad5b-d9cb-469f-a165-70867728950", NULL},
        {"0f8fad5bd9cb469fa16570867728950e", NULL},
        {"0f8fad5bd-9cb-469f-a165-70867728950e", NULL},
        {"0f8fad5b-d9cb-469f-a165-70867728950g", NULL},
        {"0f8fad5b_d9cb_469f_a165_70867728950e", NULL},
        {"0f8fad5b", NULL},
        {"", NULL},
    };

    (void)state;
    check_values(&spec, cases, COUNT_OF(cases));
}

static void test_date(void **state)
{
    static const struct param_spec spec = {.type = PARAM_DATE};
    static const struct value_case cases[] = {
        {"2024-02-29", "2024-02-29"},
        {"2000-02-29", "2000-02-29"},
        {"0001-01-01", "0001-01-01"},
        {"9999-12-31", "9999-12-31"},
        {"2023-04-30", "2023-04-30"},
        {"2023-02-29", NULL},
        {"1900-02-29", NULL},
        {"2024-02-30", NULL},
        {"2023-04-31", NULL},
        {"2023-12-32", NULL},
        {"2023-00-01", NULL},
        {"2023-13-01", NULL},
        {"2023-01-00", NULL},
        {"0000-01-01", NULL},
        {"2023-1-1", NULL},
        {"20230101", NULL},
        {"2023/01/01", NULL},
        {"2023-01-01T00:00:00Z", NULL},
        {"-001-01-01", NULL},
        {"10000-01-01", NULL},
        {"2023-01-0", NULL},
        {"today", NULL},
        {"", NULL},
    };

    (void)state;
    check_values(&spec, cases, COUNT_OF(cases));
}

static void test_enum(void **state)
{
    static const char *const values[] = {"up", "down", "", NULL};
    static const struct param_spec spec = {.type = PARAM_ENUM, .values = values},
                                   none = {.type = PARAM_ENUM};
    static const struct value_case cases[] = {{"up", "up"}, {"down", "down"}, {"", ""},
                                              {"Up", NULL}, {"upp", NULL},    {"u", NULL}};
    static const struct value_case of_none[] = {{"up", NULL}, {"", NULL}};

    (void)state;
    check_values(&spec, cases, COUNT_OF(cases));
    check_values(&none, of_none, COUNT_OF(of_none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int),           cmocka_unit_test(test_number),
        cmocka_unit_test(test_number_bounds), cmocka_unit_test(test_bool),
        cmocka_unit_test(test_text),          cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_date),          cmocka_unit_test(test_enum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
