/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses of Redis. */
#include "config.h"

#include "unit.h"

#include <string.h>

#include "redis/address.h"

static void test_right(void **state)
{
    static const struct {
        const char *text;
        enum redis_transport transport;
        const char *host;
        int port;
    } cases[] = {
        {"unix:/run/redis.sock", REDIS_OVER_UNIX, "/run/redis.sock", 0},
        {"unix:/a:b@c", REDIS_OVER_UNIX, "/a:b@c", 0},
        {"tcp:localhost:6379", REDIS_OVER_TCP, "localhost", 6379},
        {"tcp:10.0.0.1:1", REDIS_OVER_TCP, "10.0.0.1", 1},
        {"tcp:[::1]:65535", REDIS_OVER_TCP, "::1", 65535},
        {"tcp:[fe80::1%eth0]:6379", REDIS_OVER_TCP, "fe80::1%eth0", 6379},
        {"tls:cache.example.org:6380", REDIS_OVER_TLS, "cache.example.org", 6380},
        {"tls:[::1]:6380", REDIS_OVER_TLS, "::1", 6380},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct redis_address address;
        check(redis_address_parse(cases[i].text, &address) == 0, "%s", cases[i].text);
        check(address.transport == cases[i].transport && address.port == cases[i].port &&
                  strcmp(address.host, cases[i].host) == 0,
              "%s: %d %s %d", cases[i].text, address.transport, address.host, address.port);
    }
}

static void test_wrong(void **state)
{
    static const char *const cases[] = {
        "",         "localhost",      "localhost:6379", "unix:",        "unix:run/x",
        "tcp:",     "tcp:a",          "tcp::1",         "tcp:a:",       "tcp:a:0",
        "tcp:a:-1", "tcp:a:65536",    "tcp:a:1x",       "tcp:::1:6379", "tcp:[::1]6379",
        "tcp:[]:1", "tcp:[::1]",      "tcp:[a:1",       "tcp:a]:1",     "tcp:[[::1]]:1",
        "tcp:a: 1", "redis://a:6379", "TCP:a:1",        "tls:a",        "tls:[::1:6379",
        "tcp:a:+1",
    };
    char long_path[200] = "unix:/", long_host[400] = "tcp:";
    struct redis_address address;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(redis_address_parse(cases[i], &address) == -1, "\"%s\"", cases[i]);
    memset(long_path + 6, 'a', 108);
    assert_int_equal(redis_address_parse(long_path, &address), -1);
    memset(long_host + 4, 'a', 256);
    memcpy(long_host + 260, ":1", 3);
    assert_int_equal(redis_address_parse(long_host, &address), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_right), cmocka_unit_test(test_wrong)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
