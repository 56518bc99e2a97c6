/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of Postgres's messages may be logged, and what its conditions are called. */
#include "config.h"

#include "unit.h"

#include <stdbool.h>
#include <string.h>

#include "source/sqlstate.h"

/* Errors as Postgres 15 raises them, with the value "secret" where a client's would stand. */
static void test_messages(void **state)
{
    static const struct {
        const char *sqlstate, *source_file;
        bool safe;
        const char *message;
    } cases[] = {
        {"25006", "utility.c", true, "cannot execute INSERT in a read-only transaction"},
        {"57014", "postgres.c", true, "canceling statement due to statement timeout"},
        {"57P01", "postgres.c", true, "terminating connection due to administrator command"},
        {"53300", "miscinit.c", true, "too many connections for role \"lim\""},
        {"53400", "fd.c", true, "temporary file size exceeds temp_file_limit (1kB)"},
        {"54001", "postgres.c", true, "stack depth limit exceeded"},
        {"54001", "stack_depth.c", true, "stack depth limit exceeded"},
        {"21000", "nodeSubplan.c", true, "more than one row returned by a subquery"},
        {"25P02", "postgres.c", true, "current transaction is aborted"},
        {"0A000", "plancache.c", true, "cached plan must not change result type"},
        {"08P01", "postgres.c", true, "bind message supplies 2 parameters"},
        {"08P01", "", true, "query_wait_timeout"},
        {"08P01", NULL, true, "query_wait_timeout"},
        {"0A000", "timestamp.c", false, "unit \"secret\" not supported for type"},
        {"42601", "tsquery.c", false, "syntax error in tsquery: \"secret\""},
        {"42601", "scan.l", false, "syntax error at or near \"secret\""},
        {"42602", "regproc.c", false, "invalid name syntax"},
        {"42P01", "namespace.c", false, "relation \"secret\" does not exist"},
        {"42P01", "parse_relation.c", false, "relation \"secret\" does not exist"},
        {"42703", "parse_relation.c", false, "column \"secret\" does not exist"},
        {"42501", "aclchk.c", false, "permission denied for table secret"},
        {"55000", "sequence.c", false, "currval of sequence \"secret\" is not yet defined"},
        {"22P02", "numutils.c", false, "invalid input syntax for type integer: \"secret\""},
        {"23514", "execMain.c", false, "value for domain d violates check constraint"},
        {"XX000", "mcxt.c", false, "invalid memory alloc request size 1073741824"},
        {"08006", "connection.c", false, "another server's words"},
        {"08006", "", false, "a pooler's, of another server's words"},
        /* any state may be raised by a function, which may say anything */
        {"PT404", "pl_exec.c", false, "no secret"},
        {"P0001", "pl_exec.c", false, "no secret"},
        {"57014", "pl_exec.c", false, "no secret"},
        {"53300", "plpy_elog.c", false, "no secret"},
        {"25006", "", false, "of nobody"},
        {"57014", "utility.c", false, "a file of another row"},
        {"", "postgres.c", false, ""},
        {"5701", "postgres.c", false, ""},
        {NULL, "postgres.c", false, ""},
        {NULL, NULL, false, ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(sqlstate_message_is_safe(cases[i].sqlstate, cases[i].source_file) == cases[i].safe,
              "%s %s", cases[i].sqlstate, cases[i].message);
}

static void test_conditions(void **state)
{
    static const struct {
        const char *sqlstate, *name;
    } cases[] = {
        {"42P01", "undefined_table"},
        {"57014", "query_canceled"},
        {"22012", "division_by_zero"},
        {"22P99", "data_exception"},
        {"0A000", "feature_not_supported"},
        {"XX000", "internal_error"},
        {"XX002", "index_corrupted"},
        {"23505", "integrity_constraint_violation"},
        {"PT404", ""},
        {"00000", ""},
        {"22", "data_exception"},
        {"2", ""},
        {"", ""},
        {NULL, ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(strcmp(sqlstate_condition(cases[i].sqlstate), cases[i].name) == 0, "%s: %s",
              cases[i].sqlstate, sqlstate_condition(cases[i].sqlstate));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_conditions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
