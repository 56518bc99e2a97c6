/* SPDX-License-Identifier: BSD-2-Clause */
/* A look at SQL that knows quoting and comments, and nothing else. */
#ifndef LEEWAY_CONFIG_SQL_H
#define LEEWAY_CONFIG_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/model.h"

struct sql_facts {
    const char *problem; /* NULL, or a sentence; static */
    size_t len;          /* of the statement, up to its semicolon */
    /* Its first word, behind opening parentheses and comments: borrowed from the SQL. NULL: there
       is nothing but comments. 0 bytes: it does not begin with a word. */
    const char *verb;
    size_t verb_len;
    bool is_query; /* the word is SELECT, WITH, VALUES or TABLE: others cannot be selected from */
    int64_t highest_param;              /* n of the highest $n, 0 if there is none */
    bool uses_param[CONFIG_MAX_PARAMS]; /* by n - 1 */
};

/* Looks at keywords, semicolons and $n outside of strings, quoted identifiers, dollar quotes and
 * comments. */
struct sql_facts sql_inspect(const char *sql);

#endif
