/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of SQLSTATEs. */
#include "config.h"

#include "source/sqlstate.h"

#include <stddef.h>
#include <string.h>

/* The message is one of the server's own sentences, filled in with its own words or numbers at
   most. Left out are all whose text may quote what a query works on:

   - classes 22, 23 and P0, and user-defined ones: values are what they are about;
   - 42xxx: a function may build SQL from a value, a name may be cast (regclass, to_tsquery);
     names of objects that exist (42501, 55000) are values where a client chooses the object;
   - 0A000: "unit \"...\" not supported", but for the one sentence about plans;
   - 08xxx, HVxxx, 38xxx, 39xxx, F0xxx: what another server, or code in another language, says;
   - 54000, 58xxx, XXxxx: sizes that follow from values, names of files, anything. */
static const struct safe_message {
    const char *sqlstate;
    const char *source_file;
} safe_messages[] = {
    /* "bind message supplies 1 parameters, but prepared statement "" requires 2" */
    {"08P01", "postgres.c"},
    /* a pooler's: "query_wait_timeout", "server conn crashed?" */
    {"08P01", ""},
    /* "cached plan must not change result type", and nothing else from there */
    {"0A000", "plancache.c"},
    /* "more than one row returned by a subquery used as an expression" */
    {"21000", "nodeSubplan.c"},
    /* "cannot execute INSERT in a read-only transaction": the command's name is a constant */
    {"25006", "utility.c"},
    /* "current transaction is aborted, ..." and the time-outs of a transaction */
    {"25P02", "postgres.c"},
    {"25P03", "postgres.c"},
    {"25P04", "postgres.c"},
    /* "canceling statement due to conflict with recovery" */
    {"40001", "postgres.c"},
    /* "could not serialize access due to read/write dependencies among transactions" */
    {"40001", "predicate.c"},
    /* "deadlock detected": the locks are in the detail */
    {"40P01", "deadlock.c"},
    /* "could not extend file "base/5/2619": ...", "could not write to file "base/pgsql_tmp/..."":
       names that the server makes of numbers; that of fd.c is the size of temp_file_limit */
    {"53100", "md.c"},
    {"53100", "buffile.c"},
    {"53400", "fd.c"},
    /* "out of memory", "out of shared memory"; the size is in the detail */
    {"53200", "aset.c"},
    {"53200", "mcxt.c"},
    {"53200", "lock.c"},
    {"53200", "shmem.c"},
    /* "sorry, too many clients already", "too many connections for role "leeway"": names of the
       session, which are the configuration's */
    {"53300", "proc.c"},
    {"53300", "postinit.c"},
    {"53300", "miscinit.c"},
    /* "stack depth limit exceeded", in a file of its own since Postgres 17 */
    {"54001", "postgres.c"},
    {"54001", "stack_depth.c"},
    /* "canceling statement due to lock timeout" */
    {"55P03", "postgres.c"},
    /* "canceling statement due to statement timeout", or to user request */
    {"57014", "postgres.c"},
    /* "terminating connection due to administrator command", and likewise of what follows */
    {"57P01", "postgres.c"},
    {"57P02", "postgres.c"},
    {"57P03", "postmaster.c"},
    {"57P03", "backend_startup.c"},
    {"57P03", "postinit.c"},
    {"57P05", "postgres.c"},
};

/* In the order of the codes. Those of two characters are classes. */
static const struct condition {
    const char *sqlstate;
    const char *name;
} conditions[] = {
    {"08", "connection_exception"},
    {"08000", "connection_exception"},
    {"08001", "sqlclient_unable_to_establish_sqlconnection"},
    {"08003", "connection_does_not_exist"},
    {"08004", "sqlserver_rejected_establishment_of_sqlconnection"},
    {"08006", "connection_failure"},
    {"08P01", "protocol_violation"},
    {"0A", "feature_not_supported"},
    {"21", "cardinality_violation"},
    {"22", "data_exception"},
    {"22001", "string_data_right_truncation"},
    {"22003", "numeric_value_out_of_range"},
    {"22004", "null_value_not_allowed"},
    {"22007", "invalid_datetime_format"},
    {"22008", "datetime_field_overflow"},
    {"22009", "invalid_time_zone_displacement_value"},
    {"22011", "substring_error"},
    {"22012", "division_by_zero"},
    {"22019", "invalid_escape_character"},
    {"22021", "character_not_in_repertoire"},
    {"22023", "invalid_parameter_value"},
    {"22025", "invalid_escape_sequence"},
    {"2201B", "invalid_regular_expression"},
    {"2201W", "invalid_row_count_in_limit_clause"},
    {"2201X", "invalid_row_count_in_result_offset_clause"},
    {"2202E", "array_subscript_error"},
    {"22P02", "invalid_text_representation"},
    {"22P05", "untranslatable_character"},
    {"23", "integrity_constraint_violation"},
    {"24", "invalid_cursor_state"},
    {"25", "invalid_transaction_state"},
    {"25001", "active_sql_transaction"},
    {"25006", "read_only_sql_transaction"},
    {"25P01", "no_active_sql_transaction"},
    {"25P02", "in_failed_sql_transaction"},
    {"25P03", "idle_in_transaction_session_timeout"},
    {"25P04", "transaction_timeout"},
    {"26", "invalid_sql_statement_name"},
    {"28", "invalid_authorization_specification"},
    {"28P01", "invalid_password"},
    {"2F", "sql_routine_exception"},
    {"34", "invalid_cursor_name"},
    {"38", "external_routine_exception"},
    {"39", "external_routine_invocation_exception"},
    {"3D", "invalid_catalog_name"},
    {"3F", "invalid_schema_name"},
    {"40", "transaction_rollback"},
    {"40001", "serialization_failure"},
    {"40P01", "deadlock_detected"},
    {"42", "syntax_error_or_access_rule_violation"},
    {"42501", "insufficient_privilege"},
    {"42601", "syntax_error"},
    {"42602", "invalid_name"},
    {"42702", "ambiguous_column"},
    {"42703", "undefined_column"},
    {"42704", "undefined_object"},
    {"42725", "ambiguous_function"},
    {"42803", "grouping_error"},
    {"42804", "datatype_mismatch"},
    {"42809", "wrong_object_type"},
    {"42846", "cannot_coerce"},
    {"42883", "undefined_function"},
    {"42P01", "undefined_table"},
    {"42P02", "undefined_parameter"},
    {"42P08", "ambiguous_parameter"},
    {"42P17", "invalid_object_definition"},
    {"42P18", "indeterminate_datatype"},
    {"42P22", "indeterminate_collation"},
    {"44", "with_check_option_violation"},
    {"53", "insufficient_resources"},
    {"53100", "disk_full"},
    {"53200", "out_of_memory"},
    {"53300", "too_many_connections"},
    {"53400", "configuration_limit_exceeded"},
    {"54", "program_limit_exceeded"},
    {"54001", "statement_too_complex"},
    {"54011", "too_many_columns"},
    {"54023", "too_many_arguments"},
    {"55", "object_not_in_prerequisite_state"},
    {"55006", "object_in_use"},
    {"55P03", "lock_not_available"},
    {"57", "operator_intervention"},
    {"57014", "query_canceled"},
    {"57P01", "admin_shutdown"},
    {"57P02", "crash_shutdown"},
    {"57P03", "cannot_connect_now"},
    {"57P04", "database_dropped"},
    {"57P05", "idle_session_timeout"},
    {"58", "system_error"},
    {"58030", "io_error"},
    {"58P01", "undefined_file"},
    {"F0", "config_file_error"},
    {"HV", "fdw_error"},
    {"P0", "plpgsql_error"},
    {"P0001", "raise_exception"},
    {"P0002", "no_data_found"},
    {"P0003", "too_many_rows"},
    {"P0004", "assert_failure"},
    {"XX", "internal_error"},
    {"XX001", "data_corrupted"},
    {"XX002", "index_corrupted"},
};

bool sqlstate_message_is_safe(const char *sqlstate, const char *source_file)
{
    if (sqlstate == NULL)
        return false;
    for (size_t i = 0; i < sizeof safe_messages / sizeof safe_messages[0]; i++)
        if (strcmp(safe_messages[i].sqlstate, sqlstate) == 0 &&
            strcmp(safe_messages[i].source_file, source_file != NULL ? source_file : "") == 0)
            return true;
    return false;
}

const char *sqlstate_condition(const char *sqlstate)
{
    const char *class = "";

    if (sqlstate == NULL)
        return "";
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        if (strcmp(conditions[i].sqlstate, sqlstate) == 0)
            return conditions[i].name;
        if (strlen(sqlstate) == 5 && strlen(conditions[i].sqlstate) == 2 &&
            strncmp(conditions[i].sqlstate, sqlstate, 2) == 0)
            class = conditions[i].name;
    }
    return class;
}
