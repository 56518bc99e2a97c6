/* SPDX-License-Identifier: BSD-2-Clause */
/* Walks over SQL as Postgres's lexer does, as far as quotes and comments go. */
#include "config.h"

#include "config/sql.h"

#include <stddef.h>
#include <string.h>

#include "base/num.h"

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

/* Past the end of what begins with `quote`; a doubled quote stands for itself.
   NULL: not closed. */
static const char *skip_quoted(const char *at, char quote, bool backslashes)
{
    for (at++; *at != '\0'; at++) {
        if (backslashes && *at == '\\' && at[1] != '\0')
            at++;
        else if (*at == quote && at[1] == quote)
            at++;
        else if (*at == quote)
            return at + 1;
    }
    return NULL;
}

/* Comments nest. */
static const char *skip_block_comment(const char *at)
{
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
    return NULL;
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
    facts->problem = "a dollar quote in it is not closed";
    return NULL;
}

/* An identifier, or E'...' with its backslashes. */
static const char *skip_identifier(const char *at, struct sql_facts *facts)
{
    const char *start = at;

    while (is_identifier((unsigned char)*at) || *at == '$')
        at++;
    if (*at != '\'' || at - start != 1 || (*start | 0x20) != 'e')
        return at;
    at = skip_quoted(at, '\'', true);
    if (at == NULL)
        facts->problem = "a string in it is not closed";
    return at;
}

/* Past a string, quoted identifier or comment; `at` itself if there is none. */
static const char *skip_opaque(const char *at, struct sql_facts *facts)
{
    const char *end = at;

    if (*at == '\'' || *at == '"') {
        end = skip_quoted(at, *at, false);
        facts->problem = end == NULL ? "a string or a quoted name in it is not closed" : NULL;
    } else if (at[0] == '-' && at[1] == '-') {
        end = at + strcspn(at, "\n");
    } else if (at[0] == '/' && at[1] == '*') {
        end = skip_block_comment(at);
        facts->problem = end == NULL ? "a comment in it is not closed" : NULL;
    }
    return end;
}

struct sql_facts sql_inspect(const char *sql)
{
    struct sql_facts facts = {0};
    bool ended = false;

    for (const char *at = sql; *at != '\0' && facts.problem == NULL;) {
        const char *end = skip_opaque(at, &facts);
        bool comment = *at == '-' || *at == '/';

        if (facts.problem != NULL)
            break;
        if (ended && *at != ';' && strchr(" \t\r\n\f\v", *at) == NULL && !(comment && end != at))
            facts.problem = "it is more than one statement";
        ended = ended || *at == ';';
        if (end != at)
            at = end;
        else if (is_digit(*at))
            at += strspn(at, "0123456789");
        else if (is_identifier_start((unsigned char)*at))
            at = skip_identifier(at, &facts);
        else if (*at == '$')
            at = skip_dollar(at, &facts);
        else
            at++;
    }
    return facts;
}
