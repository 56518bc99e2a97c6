/* SPDX-License-Identifier: BSD-2-Clause */
/* Accept-Encoding where there is a response as it is and as gzip. */
#include "config.h"

#include "unit.h"

#include "http/accept_encoding.h"

enum what {
    PLAIN, /* it is acceptable without a coding only, */
    CODED, /* with it only, */
    FIRST_PLAIN,
    FIRST_CODED,
    NEITHER,
};

static enum what what_of(struct acceptance accepts)
{
    if (accepts.plain && accepts.coded)
        return accepts.prefers_coded ? FIRST_CODED : FIRST_PLAIN;
    if (accepts.coded)
        return CODED;
    return accepts.plain ? PLAIN : NEITHER;
}

static void test_gzip(void **state)
{
    static const struct {
        const char *field;
        enum what what;
    } cases[] = {
        {NULL, PLAIN},
        {"", PLAIN},
        {" , ,", PLAIN},
        {"gzip", FIRST_CODED},
        {"GZip", FIRST_CODED},
        {"x-gzip", FIRST_CODED},
        {"x-", PLAIN},
        {"xgzip", PLAIN},
        {"gzip, deflate, br, zstd", FIRST_CODED},
        {"br,gzip", FIRST_CODED},
        {"deflate\t, \tgzip\t;\tq=0.1", FIRST_CODED},
        {"br", PLAIN},
        {"identity", PLAIN},
        {"gzip;q=0", PLAIN},
        {"gzip;q=0.000", PLAIN},
        {"gzip;q=0.001", FIRST_CODED},
        {"gzip;q=1.000", FIRST_CODED},
        {"gzip; Q=0", PLAIN},
        {"identity;q=0.5, gzip;q=1.0", FIRST_CODED},
        {"identity, gzip;q=0.5", FIRST_PLAIN},
        {"identity;q=0.5, gzip;q=0.499", FIRST_PLAIN},
        {"identity, gzip", FIRST_CODED},
        {"*", FIRST_CODED},
        {"*;q=0", NEITHER},
        {"*;q=0, gzip", CODED},
        {"gzip, *;q=0", CODED},
        {"*;q=0, identity", PLAIN},
        {"identity;q=0.1, *;q=0", PLAIN},
        {"*, gzip;q=0", PLAIN},
        {"*, identity;q=0", CODED},
        {"*;q=0.1, gzip;q=0", PLAIN},
        {"identity;q=0", NEITHER},
        {"identity;q=0, br", NEITHER},
        {"identity;q=0, gzip", CODED},
        {"identity;q=0, gzip;q=0", NEITHER},
        /* the first of a name counts */
        {"gzip;q=0, gzip", PLAIN},
        {"gzip, gzip;q=0", FIRST_CODED},
        /* what cannot be read of an element is no element */
        {"gzip;q=2", PLAIN},
        {"gzip;q=1.001", PLAIN},
        {"gzip;q=0.5000", PLAIN},
        {"gzip;q=", PLAIN},
        {"gzip;q", PLAIN},
        {"gzip;", PLAIN},
        {"gzip;q=-1", PLAIN},
        {"gzip;q=0.5 x", PLAIN},
        {"gzip;level=9", PLAIN},
        {"gzip;q=1;x=y", PLAIN},
        {"gzip deflate", PLAIN},
        {"\"gzip\"", PLAIN},
        {";q=0, gzip", FIRST_CODED},
        {"gzip;q=x, gzip;q=0.5", FIRST_CODED},
        {"gzip;q=0.", PLAIN},
        {"gzip;q=1.", FIRST_CODED},
        {"\xff, gzip", FIRST_CODED},
        {"gz\x01p", PLAIN},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum what what = what_of(accept_encoding(cases[i].field, "gzip"));
        check(what == cases[i].what, "%s: %d", cases[i].field, (int)what);
    }
}

static void test_no_coding(void **state)
{
    static const struct {
        const char *field;
        enum what what;
    } cases[] = {
        {NULL, PLAIN},
        {"gzip", PLAIN},
        {"*", PLAIN},
        {"*;q=0", NEITHER},
        {"identity;q=0, gzip", NEITHER},
        {"*;q=0, identity;q=0.1", PLAIN},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum what what = what_of(accept_encoding(cases[i].field, NULL));
        check(what == cases[i].what, "%s: %d", cases[i].field, (int)what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_no_coding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
