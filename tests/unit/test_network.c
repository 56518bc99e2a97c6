/* SPDX-License-Identifier: BSD-2-Clause */
/* CIDR notation and membership. */
#include "config.h"

#include "unit.h"

#include <string.h>
#include <talloc.h>

#include "base/mem.h"
#include "base/network.h"

static const char *shown(const char *text)
{
    return text != NULL ? text : "(right)";
}

static void test_parse(void **state)
{
    static const char not_one[] = "is not an IPv4 or IPv6 address or network";
    static const char to_32[] = "needs a prefix length from 0 to 32 behind the \"/\"";
    static const char to_128[] = "needs a prefix length from 0 to 128 behind the \"/\"";
    static const char behind[] = "has an address with bits set behind its prefix";
    static const struct {
        const char *text, *problem;
        unsigned bits;
    } cases[] = {
        {"127.0.0.1", NULL, 128},
        {"127.0.0.1/32", NULL, 128},
        {"10.0.0.0/8", NULL, 104},
        {"10.128.0.0/9", NULL, 105},
        {"0.0.0.0/0", NULL, 96},
        {"::1", NULL, 128},
        {"::/0", NULL, 0},
        {"2001:db8::/32", NULL, 32},
        {"2001:db8:8000::/33", NULL, 33},
        {"::ffff:127.0.0.1", NULL, 128},
        {"::ffff:10.0.0.0/104", NULL, 104},
        {"unix:", NULL, 128},
        {"", not_one, 0},
        {"localhost", not_one, 0},
        {"127.0.0", not_one, 0},
        {"127.0.0.01", not_one, 0},
        {"256.0.0.1", not_one, 0},
        {"127.0.0.1:80", not_one, 0},
        {"[::1]", not_one, 0},
        {"::1%lo", not_one, 0},
        {"fe80::1::2", not_one, 0},
        {" 127.0.0.1", not_one, 0},
        {"127.0.0.1 ", not_one, 0},
        {"/8", not_one, 0},
        {"unix:/x", not_one, 0},
        {"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", not_one, 0},
        {"10.0.0.0/", to_32, 0},
        {"10.0.0.0/33", to_32, 0},
        {"10.0.0.0/-1", to_32, 0},
        {"10.0.0.0/-0", to_32, 0},
        {"10.0.0.0/08", to_32, 0},
        {"10.0.0.0/8/8", to_32, 0},
        {"10.0.0.0/8 ", to_32, 0},
        {"10.0.0.0/255.0.0.0", to_32, 0},
        {"10.0.0.0/99999999999999999999", to_32, 0},
        {"::/129", to_128, 0},
        {"::/x", to_128, 0},
        {"10.0.0.1/8", behind, 0},
        {"10.64.0.0/9", behind, 0},
        {"127.0.0.1/31", behind, 0},
        {"0.0.0.1/0", behind, 0},
        {"::1/0", behind, 0},
        {"2001:db8::1/64", behind, 0},
        {"::ffff:10.0.0.0/8", behind, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct network network;
        const char *problem = network_parse(cases[i].text, &network);
        check((problem == NULL) == (cases[i].problem == NULL) &&
                  (problem == NULL || strcmp(problem, cases[i].problem) == 0),
              "\"%s\": %s", cases[i].text, shown(problem));
        if (problem == NULL)
            check(network.bits == cases[i].bits, "\"%s\" has %u bits", cases[i].text, network.bits);
    }
}

static void test_contain(void **state)
{
    static const struct {
        const char *network, *client;
        bool contains;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "::ffff:127.0.0.1", true},
        {"127.0.0.1", "::ffff:7f00:1", true},
        {"127.0.0.1", "::127.0.0.1", false},
        {"127.0.0.1", "127.0.0.2", false},
        {"127.0.0.1", "::1", false},
        {"::ffff:127.0.0.1", "127.0.0.1", true},
        {"::1", "::1", true},
        {"::1", "0:0:0:0:0:0:0:1", true},
        {"::1", "127.0.0.1", false},
        {"10.0.0.0/8", "10.0.0.0", true},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "9.255.255.255", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.2/31", "192.0.2.3", true},
        {"192.0.2.2/31", "192.0.2.4", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "::ffff:203.0.113.9", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "::1", true},
        {"::/0", "203.0.113.9", false},
        {"::/0", "::ffff:203.0.113.9", false},
        {"::ffff:0:0/96", "203.0.113.9", true},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::", false},
        {"2001:db8:8000::/33", "2001:db8:8000::1", true},
        {"2001:db8:8000::/33", "2001:db8:7fff::1", false},
        {"fe80::/10", "fe80::1%eth0", false},
        {"unix:", "unix:", true},
        {"unix:", "", false},
        {"unix:", "::", false},
        {"::/0", "unix:", false},
        {"0.0.0.0/0", "unix:", false},
        {"0.0.0.0/0", "", false},
        {"0.0.0.0/0", "127.0.0.1/32", false},
        {"0.0.0.0/0", "0.0.0.0/0", false},
        {"0.0.0.0/0", "127.0.0.1, 10.0.0.1", false},
    };
    struct networks *one = mem_check(talloc_zero_size(NULL, sizeof *one + sizeof one->items[0]));

    (void)state;
    one->count = 1;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_null(network_parse(cases[i].network, &one->items[0]));
        check(networks_contain(one, cases[i].client) == cases[i].contains, "%s in %s",
              cases[i].client, cases[i].network);
    }
    one->count = 0;
    assert_false(networks_contain(one, "127.0.0.1"));
    talloc_free(one);
}

static void test_equal(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"127.0.0.1", "::ffff:127.0.0.1", true},
        {"127.0.0.1", "127.0.0.1/32", true},
        {"10.0.0.0/8", "::ffff:a00:0/104", true},
        {"::", "::/0", false},
        {"10.0.0.0/8", "10.0.0.0/9", false},
        {"unix:", "unix:", true},
        {"unix:", "::", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct network a, b;
        assert_null(network_parse(cases[i].a, &a));
        assert_null(network_parse(cases[i].b, &b));
        check(network_equals(&a, &b) == cases[i].equal, "%s and %s", cases[i].a, cases[i].b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_contain),
        cmocka_unit_test(test_equal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
