/* SPDX-License-Identifier: BSD-2-Clause */
/* When to doubt a preparation. */
#include "config.h"

#include "source/statement.h"

#include <stdio.h>
#include <string.h>

void statement_use_plan(struct statement *statement, struct plan *plan)
{
    struct plan *before = statement->plan;

    statement->plan = plan_hold(plan);
    plan_release(before);
}

/* Classes of SQLSTATE (PostgreSQL manual, appendix A) that no preparation is to blame for. */
static bool is_beyond_doubt(const char *sqlstate)
{
    static const char *const classes[] = {
        "08", /* the connection */
        "22", /* a value */
        "40", /* the transaction */
        "53", /* the server's means */
        "57", /* the operator */
        "PT", /* raised by the SQL */
    };

    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strncmp(sqlstate, classes[i], 2) == 0)
            return true;
    return sqlstate[0] == '\0' || strcmp(sqlstate, "55P03") == 0; /* lock_timeout */
}

static bool is_paused(const struct statement *statement, const char *sqlstate, int64_t now_us)
{
    size_t under_way = 0;

    for (size_t i = 0; i < STATEMENT_PAUSES; i++) {
        const struct statement_pause *pause = &statement->pauses[i];
        if (now_us >= pause->until_us)
            continue;
        if (strcmp(pause->sqlstate, sqlstate) == 0)
            return true;
        under_way++;
    }
    return under_way == STATEMENT_PAUSES;
}

bool statement_is_outdated(const char *function)
{
    return function != NULL && strcmp(function, "RevalidateCachedQuery") == 0;
}

bool statement_may_be_outdated(const struct statement *statement, const char *sqlstate,
                               const char *function, int64_t now_us)
{
    if (statement_is_outdated(function))
        return true;
    return !is_beyond_doubt(sqlstate) && !is_paused(statement, sqlstate, now_us);
}

void statement_pause(struct statement *statement, const char *sqlstate, int64_t now_us)
{
    struct statement_pause *pause = &statement->pauses[0];

    for (size_t i = 1; i < STATEMENT_PAUSES; i++)
        if (statement->pauses[i].until_us < pause->until_us)
            pause = &statement->pauses[i];
    snprintf(pause->sqlstate, sizeof pause->sqlstate, "%s", sqlstate);
    pause->until_us = now_us + STATEMENT_PAUSE_US;
}
