/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said of a connection string, and that it is never a piece of it. */
#include "config.h"

#include "unit.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "source/conninfo.h"

static void test_right_ones(void **state)
{
    static const struct {
        const char *conninfo;
        bool has_password;
    } cases[] = {
        {"", false},
        {"  ", false},
        {"dbname=shop", false},
        {"dbname = shop user = 'a b' host=/run/postgresql,db2 port=5432,5433", false},
        {"host=@abstract port='' password=''", false},
        {"host=/run/postgresql@15-main,/run/pg@14 dbname=shop", false},
        {"port=' 5432 ,,5433'", false},
        {"password=horse", true},
        {"password='my horse' dbname=a", true},
        {"password=it\\'s\\ a\\ horse", true},
        {"password=a=b@c/d", true},
        {"postgres://", false},
        {"postgresql://db", false},
        {"postgresql://u@db,db2:5433/shop?sslmode=require", false},
        {"postgres://u:horse@db/shop", true},
        {"postgres://u:%40horse%2F%3f@db:5432/shop", true},
        {"postgres://u:horse?sslmode=my@db/shop", true},
        {"postgres://u:my[horse@db/shop", true},
        {"postgres://u:ho:rse@[::1]:5432/shop", true},
        {"postgres://db/shop?password=ho@rse", true},
        {"postgres://db/shop?host=@abstract", false},
        {"service=shop", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char error[512] = "";
        bool has_password = !cases[i].has_password;
        int rc = conninfo_check(cases[i].conninfo, &has_password, error, sizeof error);
        check(rc == 0 && has_password == cases[i].has_password, "%s: %s", cases[i].conninfo, error);
    }
}

/* Wherever "horse" stands, it belongs to a password. */
static void test_wrong_ones(void **state)
{
    static const struct {
        const char *conninfo;
        const char *said;
    } cases[] = {
        {"horse", "the word at character 1 is not followed by '='"},
        {"password=my horse", "at character 13, behind the value of password, a word is not"},
        {"password=my horse dbname=shop", "behind the value of password"},
        {"host=db password=my horse=", "before the '=' at character 26 is not a keyword"},
        {"password=my horse = x", "before the '=' at character 19 is not a keyword"},
        {"=horse", "before the '=' at character 1 is not a keyword"},
        {"host=db\tpassword='my horse", "the quote around the value of password is not closed"},
        {"password='it's horse'", "at character 14, behind the value of password"},
        {"password='horse\\'", "the quote around the value of password is not closed"},
        {"passwort=horse", "before the '=' at character 9 is not a keyword"},
        {"port=horse", "a port is not a number from 1 to 65535"},
        {"port=65536", "a port is not a number from 1 to 65535"},
        {"host=my@horse", "a host has '@' in it"},
        {"host=a,b@horse", "a host has '@' in it"},
        {"postgres://u:my%horse@db", "the % at character 16 is not followed by two hexadecimal"},
        {"postgres://u:my%2@horse", "the % at character 16"},
        {"postgres://u:my%00horse@db", "the URI is malformed"},
        {"postgres://u:my@horse@db/shop", "in or behind the host; in a URI, write"},
        {"postgres://u@my%40horse/shop", "a host has '@' in it; in a URI, write"},
        {"postgres://db/?host=my@horse", "a host has '@' in it; in a URI, write"},
        {"postgres://u:my/horse@db/shop", "in or behind the host; in a URI, write"},
        {"postgres://u:12/horse@db/shop", "in or behind the host; in a URI, write"},
        {"postgres://u:horse/x", "a port is not a number from 1 to 65535; in a URI, write"},
        {"postgres://u:my?horse@db/x@y", "in or behind the host; in a URI, write"},
        {"postgres://u:x@[horse", "the URI is malformed"},
        {"postgres://u:x@[]horse", "the URI is malformed"},
        {"postgres://u:x@[::1]horse", "the URI is malformed"},
        {"postgres://db/shop?password=my=horse", "the URI is malformed"},
        {"postgres://db/shop?horse", "the URI is malformed"},
        {"postgres://db/shop?password=a&horse=b", "the URI is malformed"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char error[512] = "";
        bool has_password;
        int rc = conninfo_check(cases[i].conninfo, &has_password, error, sizeof error);
        check(rc == -1, "accepted: %s", cases[i].conninfo);
        check(strstr(error, cases[i].said) != NULL, "%s: %s", cases[i].conninfo, error);
        check(strstr(error, "horse") == NULL, "%s: %s", cases[i].conninfo, error);
        check(error[0] != '\0' && error[strlen(error) - 1] != '.', "%s", error);
    }
}

/* Errors of a connection that cannot be made name these. */
static void check_named_parts(const char *conninfo)
{
    static const char *const named[] = {"host", "hostaddr", "port", "dbname", "user"};
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

    assert_non_null(options);
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
        for (size_t i = 0; i < COUNT_OF(named); i++)
            check(strcmp(o->keyword, named[i]) != 0 || o->val == NULL ||
                      strstr(o->val, "Zy") == NULL,
                  "%s of %s is %s", o->keyword, conninfo, o->val);
    PQconninfoFree(options);
}

/* Every short password of characters that mean something, in both forms, unescaped. */
static void test_no_piece_of_a_password_is_said(void **state)
{
    static const char alphabet[] = "@/?#%:=&'\\[] 0";
    static const char *const forms[] = {"host=db password=Zy%cZy%cZy%cZy user=u",
                                        "postgres://u:Zy%cZy%cZy%cZy@db:5432/shop?sslmode=prefer"};
    size_t n = strlen(alphabet), refused = 0;

    (void)state;
    for (size_t i = 0; i < 2 * n * n * n; i++) {
        char conninfo[256], error[512] = "";
        const char *form = forms[i % 2];
        bool has_password;
        size_t k = i / 2;
        const char chars[] = {alphabet[k % n], alphabet[k / n % n], alphabet[k / n / n]};
        char *out = conninfo;
        for (size_t next = 0; *form != '\0'; form++) {
            bool slot = form[0] == '%' && form[1] == 'c';
            *out++ = slot ? chars[next++] : *form;
            form += slot;
        }
        *out = '\0';
        if (conninfo_check(conninfo, &has_password, error, sizeof error) == 0) {
            check_named_parts(conninfo);
            continue;
        }
        refused++;
        check(strstr(error, "Zy") == NULL, "%s: %s", conninfo, error);
    }
    assert_true(refused > n * n * n / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_ones),
        cmocka_unit_test(test_wrong_ones),
        cmocka_unit_test(test_no_piece_of_a_password_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
