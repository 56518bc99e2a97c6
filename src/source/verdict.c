/* SPDX-License-Identifier: BSD-2-Clause */
/* SQLSTATEs and what they mean here. */
#include "config.h"

#include "source/verdict.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum {
    SQLSTATE_CHARS = 5,
    /* The server's clock may run faster than ours by an eighth, and its timer come early. */
    SLEW_SHARE = 8,
    TIMER_MS = 10,
};

static bool in_class(const char *sqlstate, const char *class)
{
    return strncmp(sqlstate, class, 2) == 0;
}

static bool is(const char *sqlstate, const char *other)
{
    return strcmp(sqlstate, other) == 0;
}

/* 0: it is no status that SQL may choose. */
static int chosen_status(const char *sqlstate)
{
    static const int statuses[] = {400, 403, 404, 409, 410, 422};

    if (!in_class(sqlstate, "PT") || strspn(sqlstate + 2, "0123456789") != 3)
        return 0;
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (strtol(sqlstate + 2, NULL, 10) == statuses[i])
            return statuses[i];
    return 0;
}

/* The server's message, which would tell, is in its own language. */
static bool is_at_limit(const struct verdict_facts *facts)
{
    return facts->ran_ms + TIMER_MS >= facts->limit_ms - facts->limit_ms / SLEW_SHARE;
}

/* 08P01, a protocol violation, is said of what was sent, and not by a server that is away. */
static enum query_outcome outcome_of(const struct verdict_facts *facts)
{
    const char *sqlstate = facts->sqlstate;

    if (in_class(sqlstate, "22")) /* where nobody has sent a value, it is the data's */
        return facts->has_values ? QUERY_BAD_VALUE : QUERY_BROKEN;
    if (is(sqlstate, "55P03") || is(sqlstate, "25P04")) /* lock_timeout, transaction_timeout */
        return QUERY_TIMED_OUT;
    if (is(sqlstate, "57014"))
        return is_at_limit(facts) ? QUERY_TIMED_OUT : QUERY_AWAY;
    if (is(sqlstate, "08P01"))
        return QUERY_BROKEN;
    if (in_class(sqlstate, "53") || in_class(sqlstate, "57") || in_class(sqlstate, "08"))
        return QUERY_AWAY;
    return QUERY_BROKEN;
}

/* Not where the session is ended, cannot be had, or is lost on the way. */
bool verdict_is_of_query(const char *sqlstate)
{
    static const char *const states[] = {"53300", "57P01", "57P02", "57P03", "57P05"};

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (is(sqlstate, states[i]))
            return false;
    return !in_class(sqlstate, "08") || is(sqlstate, "08P01");
}

struct verdict verdict_of(const struct verdict_facts *facts)
{
    struct verdict verdict = {
        .outcome = outcome_of(facts),
        .status = facts->is_query ? chosen_status(facts->sqlstate) : 0,
    };

    verdict.canceled = is(facts->sqlstate, "57014") && verdict.outcome == QUERY_AWAY;
    if (verdict.status == 404 || verdict.status == 410)
        verdict.outcome = QUERY_NO_ROW;
    else if (verdict.status != 0)
        verdict.outcome = QUERY_CHOSEN;
    return verdict;
}

/* At the beginning: the context's first line is the innermost, and none that SQL can give a name to
   begins so. */
unsigned verdict_parameter(const char *context)
{
    static const char begin[] = "unnamed portal parameter $";
    char *end;

    if (context == NULL || strncmp(context, begin, sizeof begin - 1) != 0)
        return 0;
    const char *digits = context + sizeof begin - 1;
    if (*digits < '1' || *digits > '9')
        return 0;
    unsigned long number = strtoul(digits, &end, 10);
    return number <= UINT16_MAX && (*end == '\0' || *end == ' ' || *end == '\n') ? (unsigned)number
                                                                                 : 0;
}

void verdict_message(const char *message, char shown[VERDICT_MESSAGE_BYTES + 1])
{
    size_t len = message != NULL ? strlen(message) : 0;

    shown[0] = '\0';
    if (len == 0 || utf8_length(message, len) == -1)
        return;
    if (len > VERDICT_MESSAGE_BYTES)
        for (len = VERDICT_MESSAGE_BYTES; ((unsigned char)message[len] & 0xc0) == 0x80; len--)
            ;
    memcpy(shown, message, len);
    shown[len] = '\0';
}

/* PgBouncer's words, which it sends as 08P01 in its older releases. */
bool verdict_is_full(const char *sqlstate, const char *message)
{
    if (is(sqlstate, "53300"))
        return true;
    return is(sqlstate, "08P01") && message != NULL &&
           (strstr(message, "no more connections allowed") != NULL ||
            strstr(message, "client connections exceeded") != NULL ||
            strstr(message, "too many clients already") != NULL ||
            strstr(message, "too many connections for ") != NULL);
}

static enum verdict_refusal refusal_of(const char *sqlstate, const char *message)
{
    if (verdict_is_full(sqlstate, message))
        return REFUSAL_FULL;
    if (strncmp(sqlstate, "28", 2) == 0 || is(sqlstate, "3D000") || is(sqlstate, "55000"))
        return REFUSAL_BARRED;
    return REFUSAL_OTHER;
}

static bool is_sqlstate(const char *text)
{
    return strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == SQLSTATE_CHARS &&
           strncmp(text + SQLSTATE_CHARS, ": ", 2) == 0;
}

static void drop(char *at, size_t len)
{
    memmove(at, at + len, strlen(at + len) + 1);
}

static void drop_locations(char *message)
{
    static const char location[] = "\nLOCATION:  ";

    while ((message = strstr(message, location)) != NULL)
        drop(message, 1 + strcspn(message + 1, "\n"));
}

enum verdict_refusal verdict_take_refusal(char *message)
{
    enum verdict_refusal highest = REFUSAL_OTHER;

    drop_locations(message);
    for (char *at = message; (at = strstr(at, ":  ")) != NULL; at += 3) {
        char sqlstate[SQLSTATE_CHARS + 1] = "";
        if (!is_sqlstate(at + 3))
            continue;
        memcpy(sqlstate, at + 3, SQLSTATE_CHARS);
        drop(at + 3, SQLSTATE_CHARS + 2);
        enum verdict_refusal refusal = refusal_of(sqlstate, at + 3);
        highest = refusal > highest ? refusal : highest;
    }
    return highest;
}
