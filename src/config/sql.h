/* SPDX-License-Identifier: BSD-2-Clause */
/* A look at SQL that knows quoting and comments, and nothing else. */
#ifndef LEEWAY_CONFIG_SQL_H
#define LEEWAY_CONFIG_SQL_H

#include <stdbool.h>
#include <stdint.h>

#include "config/model.h"

struct sql_facts {
    const char *problem;                /* NULL, or a sentence; static */
    int64_t highest_param;              /* n of the highest $n, 0 if there is none */
    bool uses_param[CONFIG_MAX_PARAMS]; /* by n - 1 */
};

/* Finds $n outside of strings, quoted identifiers, dollar quotes and comments. */
struct sql_facts sql_inspect(const char *sql);

#endif
