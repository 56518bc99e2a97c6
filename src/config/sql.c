/* SPDX-License-Identifier: BSD-2-Clause */
/* Walks over SQL as Postgres's lexer does, as far as quotes and comments go. */
#include "config.h"

#include "config/sql.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"

#define WHITE_SPACE " \t\r\n\f\v"

static bool is_identifier_start(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_identifier(unsigned char c)
{
    return is_identifier_start(c) || is_digit((char)c);
}

/* What begins at `at` goes on to the end of the text. */
static const char *not_closed(const char *at, struct sql_facts *facts, const char *problem)
{
    facts->problem = problem;
    return at + strlen(at);
}

/* A doubled quote stands for itself. */
static const char *skip_quoted(const char *at, bool backslashes, struct sql_facts *facts)
{
    const char *start = at;

    for (at++; *at != '\0'; at++) {
        if (backslashes && *at == '\\' && at[1] != '\0')
            at++;
        else if (*at == *start && at[1] == *start)
            at++;
        else if (*at == *start)
            return at + 1;
    }
    return not_closed(start, facts,
                      *start == '"' ? "a quoted name in it is not closed"
                                    : "a string in it is not closed");
}

/* Comments nest. */
static const char *skip_block_comment(const char *at, struct sql_facts *facts)
{
    const char *start = at;
    size_t depth = 0;

    while (*at != '\0') {
        if (at[0] == '/' && at[1] == '*') {
            depth++;
            at += 2;
        } else if (at[0] == '*' && at[1] == '/') {
            at += 2;
            if (--depth == 0)
                return at;
        } else {
            at++;
        }
    }
    return not_closed(start, facts, "a comment in it is not closed");
}

/* $n, a dollar quote, or a lone '$'. */
static const char *skip_dollar(const char *at, struct sql_facts *facts)
{
    const char *tag_end = at + 1;

    if (is_digit(at[1])) {
        size_t digits = strspn(at + 1, "0123456789");
        int64_t number;
        if (!num_parse_i64(at + 1, digits, &number))
            number = INT64_MAX;
        if (number == 0)
            facts->problem = "$0 is no parameter; the first is $1";
        if (number > facts->highest_param)
            facts->highest_param = number;
        if (number >= 1 && number <= CONFIG_MAX_PARAMS)
            facts->uses_param[number - 1] = true;
        return at + 1 + digits;
    }
    while (is_identifier((unsigned char)*tag_end))
        tag_end++;
    if (*tag_end != '$')
        return at + 1;

    size_t tag_len = (size_t)(tag_end + 1 - at);
    for (const char *end = strchr(tag_end + 1, '$'); end != NULL; end = strchr(end + 1, '$'))
        if (strncmp(end, at, tag_len) == 0)
            return end + tag_len;
    return not_closed(at, facts, "a dollar quote in it is not closed");
}

static const char *skip_word(const char *at)
{
    while (is_identifier((unsigned char)*at) || *at == '$')
        at++;
    return at;
}

/* Where a string goes on after a line break, as Postgres lets it; NULL: it does not. */
static const char *string_goes_on(const char *at)
{
    bool broken = false;

    for (;; at++) {
        if (at[0] == '-' && at[1] == '-')
            at += strcspn(at, "\n\r");
        if (*at == '\'')
            return broken ? at : NULL;
        if (*at == '\0' || strchr(WHITE_SPACE, *at) == NULL)
            return NULL;
        broken = broken || *at == '\n' || *at == '\r';
    }
}

/* An identifier, or E'...' with its backslashes. */
static const char *skip_identifier(const char *at, struct sql_facts *facts)
{
    const char *start = at;

    at = skip_word(at);
    if (*at != '\'' || at - start != 1 || (*start | 0x20) != 'e')
        return at;
    for (const char *next = at; next != NULL && facts->problem == NULL; next = string_goes_on(at))
        at = skip_quoted(next, true, facts);
    return at;
}

/* Past a string, quoted identifier or comment; `at` itself if there is none. */
static const char *skip_opaque(const char *at, struct sql_facts *facts)
{
    if (*at == '\'' || *at == '"')
        return skip_quoted(at, false, facts);
    if (at[0] == '-' && at[1] == '-')
        return at + strcspn(at, "\r\n"); /* either ends it for Postgres */
    if (at[0] == '/' && at[1] == '*')
        return skip_block_comment(at, facts);
    return at;
}

static const char *skip_token(const char *at, struct sql_facts *facts)
{
    if (is_digit(*at))
        return at + strspn(at, "0123456789");
    if (is_identifier_start((unsigned char)*at))
        return skip_identifier(at, facts);
    if (*at == '$')
        return skip_dollar(at, facts);
    return at + 1;
}

/* At the first token that is neither a comment nor an opening parenthesis. */
static void take_verb(const char *at, struct sql_facts *facts)
{
    static const char *const queries[] = {"select", "with", "values", "table"};

    facts->verb = at;
    if (is_identifier_start((unsigned char)*at))
        facts->verb_len = (size_t)(skip_word(at) - at);
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
        facts->is_query = facts->is_query || (facts->verb_len == strlen(queries[i]) &&
                                              strncasecmp(at, queries[i], facts->verb_len) == 0);
}

struct sql_facts sql_inspect(const char *sql)
{
    struct sql_facts facts = {.len = strlen(sql)};
    bool ended = false;

    for (const char *at = sql; *at != '\0' && facts.problem == NULL;) {
        const char *end = skip_opaque(at, &facts);
        bool comment = end != at && (*at == '-' || *at == '/');
        bool blank = comment || strchr(WHITE_SPACE, *at) != NULL;

        if (ended && !blank && *at != ';')
            facts.problem = "it is more than one statement";
        if (!ended && *at == ';')
            facts.len = (size_t)(at - sql);
        ended = ended || *at == ';';
        if (!ended && !blank && *at != '(' && facts.verb == NULL)
            take_verb(at, &facts);
        at = end != at ? end : skip_token(at, &facts);
    }
    return facts;
}
