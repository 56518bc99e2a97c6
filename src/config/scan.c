/* SPDX-License-Identifier: BSD-2-Clause */
/* Follows libConfuse's tokens through a file. Where its lexer would guess or
   lose its place (its state outlives a failed parse, so that the next reload
   would begin inside a string), this refuses the file with a sentence. */
#include "config.h"

#include "config/scan.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_DEPTH = 8 };

enum token {
    TOKEN_END = 0,
    TOKEN_WORD = 'w', /* quoted or not */
    /* all others are the character itself: = { } ( ) , */
};

enum state {
    AT_KEY,   /* before a key, or the end of a block */
    IN_NAME,  /* after a key or a title */
    AT_VALUE, /* after '=' */
    AT_FIRST, /* after a list's '{' */
    IN_LIST,
    AT_ARGUMENT, /* after a function's '(' */
    AT_CALL_END,
};

struct scanner {
    TALLOC_CTX *error_ctx;
    struct config_error *error;
    const char *file;
    char *text;
    size_t len;
    size_t at;
    size_t began; /* the last token's first byte */
    int line;
    enum state state;
    size_t word_at; /* of the statement's first word */
    size_t word_len;
    int start_line;      /* the same word's */
    int open[MAX_DEPTH]; /* lines of the blocks that are open */
    int depth;
    struct config_scan *scan;
    TALLOC_CTX *ctx;
};

static int fail_at(const struct scanner *s, int line, const char *sentence)
{
    return config_fail(s->error_ctx, s->error, (struct config_place){s->file, line}, "%s",
                       sentence);
}

static void add_line(const struct scanner *s, int **lines, size_t *count, int line)
{
    *lines = mem_check(talloc_realloc(s->ctx, *lines, int, *count + 1));
    (*lines)[(*count)++] = line;
}

static bool is_word_char(char c)
{
    return strchr(" #\"'\t\n\r={}()+,*", c) == NULL;
}

static void blank_to(struct scanner *s, const char *end)
{
    for (; s->text + s->at < end; s->at++) {
        if (s->text[s->at] == '\n')
            s->line++;
        else
            s->text[s->at] = ' ';
    }
}

/* 1 if there was a comment, 0 if not. */
static int skip_comment(struct scanner *s)
{
    const char *here = s->text + s->at;

    if (here[0] == '#' || (here[0] == '/' && here[1] == '/')) {
        blank_to(s, here + strcspn(here, "\n"));
        return 1;
    }
    if (here[0] == '/' && here[1] == '*') {
        const char *end = strstr(here + 2, "*/");
        if (end == NULL)
            return fail_at(s, s->line, "this comment is not closed: \"*/\" is missing");
        blank_to(s, end + 2);
        return 1;
    }
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* After a backslash in a double-quoted string. */
static int skip_escape(struct scanner *s)
{
    const char *here = s->text + s->at;
    size_t digits = strspn(here, "0123456789");
    int value = -1;

    if (digits > 0) {
        if (digits > 3 || strspn(here, "01234567") < digits)
            return fail_at(s, s->line,
                           "a backslash before digits needs one to three octal ones; "
                           "write \"\\\\\" for a backslash");
        value = 0;
        for (size_t i = 0; i < digits; i++)
            value = value * 8 + (here[i] - '0');
        s->at += digits;
    } else if (here[0] == 'x' && hex_digit(here[1]) >= 0) {
        value = hex_digit(here[1]);
        s->at += 2;
        if (hex_digit(here[2]) >= 0) {
            value = value * 16 + hex_digit(here[2]);
            s->at++;
        }
    } else if (here[0] != '\0') {
        s->line += here[0] == '\n';
        s->at++;
    }
    if (value == 0 || value > 255)
        return fail_at(s, s->line,
                       "an escape sequence in a string must stand for a byte from 1 "
                       "to 255");
    return 0;
}

/* libConfuse takes what is not set for empty, unless a default follows ":-". */
static int check_variable(const struct scanner *s, const char *inside, size_t len)
{
    const char *colon = memchr(inside, ':', len);
    bool has_default = colon != NULL && colon[1] == '-';
    size_t name_len = has_default ? (size_t)(colon - inside) : len;
    char *name = mem_check(talloc_strndup(s->ctx, inside, name_len));
    struct config_place place = {s->file, s->line};
    int rc = 0;

    if (name_len == 0)
        rc = config_fail(s->error_ctx, s->error, place, "\"${\" needs the name of a variable");
    else if (colon != NULL && !has_default)
        rc = config_fail(s->error_ctx, s->error, place,
                         "a default stands behind \":-\", as in \"${NAME:-default}\"");
    else if (!has_default && getenv(name) == NULL)
        rc = config_fail(s->error_ctx, s->error, place,
                         "the environment variable %s is not set; \"${%s:-}\" is empty then", name,
                         name);
    talloc_free(name);
    return rc;
}

/* At "${": libConfuse looks for the "}" across quotes and lines. */
static int skip_variable(struct scanner *s)
{
    const char *here = s->text + s->at;
    size_t inside = 2 + strcspn(here + 2, "}\"\n");

    if (here[inside] != '}')
        return fail_at(s, s->line,
                       "\"${\" needs a \"}\" on the same line; write \"\\${\" in a string if no "
                       "environment variable is meant");
    s->at += inside + 1;
    return check_variable(s, here + 2, inside - 2);
}

static int skip_string(struct scanner *s)
{
    char quote = s->text[s->at++];
    int first_line = s->line;

    while (s->at < s->len && s->text[s->at] != quote) {
        char c = s->text[s->at];
        int rc = 0;
        if (c == '$' && quote == '"' && s->text[s->at + 1] == '{') {
            rc = skip_variable(s);
        } else if (c == '\\') {
            s->at++;
            if (quote == '"')
                rc = skip_escape(s);
            else if (s->at < s->len)
                s->line += s->text[s->at++] == '\n';
        } else {
            s->line += c == '\n';
            s->at++;
        }
        if (rc == -1)
            return -1;
    }
    if (s->at == s->len)
        return fail_at(s, first_line, "this string is not closed: its second quote is missing");
    s->at++;
    return 0;
}

static int skip_word(struct scanner *s)
{
    if (s->text[s->at] == '$' && s->text[s->at + 1] == '{')
        return skip_variable(s);
    while (s->at < s->len && is_word_char(s->text[s->at])) {
        unsigned char c = (unsigned char)s->text[s->at++];
        if (c < ' ' || c == 0x7f)
            return fail_at(s, s->line, "a control character stands outside of a string");
    }
    if (s->text[s->at - 1] == '$' && s->text[s->at] == '{')
        return fail_at(s, s->line, "text with \"${\" in it must stand in double quotes");
    return 0;
}

static int skip_space(struct scanner *s)
{
    int rc = 1;

    while (rc == 1) {
        while (s->at < s->len && strchr(" \t\r\n", s->text[s->at]) != NULL)
            s->line += s->text[s->at++] == '\n';
        rc = skip_comment(s);
    }
    return rc;
}

/* 0 and *token, which ends before s->at and began on *line; or -1. */
static int next_token(struct scanner *s, int *token, int *line)
{
    if (skip_space(s) == -1)
        return -1;
    *line = s->line;
    s->began = s->at;
    if (s->at == s->len) {
        *token = TOKEN_END;
        return 0;
    }
    char c = s->text[s->at];
    if (c == '"' || c == '\'') {
        *token = TOKEN_WORD;
        return skip_string(s);
    }
    if (is_word_char(c)) {
        *token = TOKEN_WORD;
        return skip_word(s);
    }
    if (c == '+' && s->text[s->at + 1] == '=')
        return fail_at(s, s->line, "\"+=\" is not supported; give the whole list with \"=\"");
    if (c == '+' || c == '*')
        return config_fail(s->error_ctx, s->error, (struct config_place){s->file, s->line},
                           "a '%c' must stand in quotes", c);
    *token = c;
    s->at++;
    return 0;
}

/* A block that can only stand outside of all others was begun in another: the
   other one's end is missing. */
static int check_nesting(const struct scanner *s)
{
    static const char *const outermost[] = {"redis", "postgres", "context", "route", "include"};

    for (size_t i = 0; s->depth > 0 && i < sizeof(outermost) / sizeof(outermost[0]); i++)
        if (s->word_len == strlen(outermost[i]) &&
            memcmp(s->text + s->word_at, outermost[i], s->word_len) == 0)
            return config_fail(s->error_ctx, s->error,
                               (struct config_place){s->file, s->open[s->depth - 1]},
                               "this block is not closed before the \"%s\" of line %d",
                               outermost[i], s->start_line);
    return 0;
}

static int open_block(struct scanner *s)
{
    if (check_nesting(s) == -1)
        return -1;
    if (s->depth == MAX_DEPTH)
        return fail_at(s, s->start_line, "blocks are nested too deeply");
    s->open[s->depth++] = s->start_line;
    add_line(s, &s->scan->block_lines, &s->scan->n_blocks, s->start_line);
    s->state = AT_KEY;
    return 0;
}

static int after_name(struct scanner *s, int token)
{
    switch (token) {
    case '=':
        add_line(s, &s->scan->key_lines, &s->scan->n_keys, s->start_line);
        s->state = AT_VALUE;
        return 0;
    case '{':
        return open_block(s);
    case '(':
        add_line(s, &s->scan->block_lines, &s->scan->n_blocks, s->start_line);
        s->state = AT_ARGUMENT;
        return check_nesting(s);
    case TOKEN_WORD:
        return 0;
    default:
        return fail_at(s, s->start_line, "a key needs \"= value\", a block \"{\" and \"}\"");
    }
}

static int at_key(struct scanner *s, int token, int line)
{
    if (token == TOKEN_WORD) {
        if (s->at - s->began == 2 && strchr("\"'", s->text[s->began]) != NULL)
            return fail_at(s, line, "the name of a key or a block cannot be empty");
        s->word_at = s->began;
        s->word_len = s->at - s->began;
        s->start_line = line;
        s->state = IN_NAME;
        return 0;
    }
    if (token != '}')
        return config_fail(s->error_ctx, s->error, (struct config_place){s->file, line},
                           "a '%c' where a key or a block should begin", token);
    if (s->depth == 0)
        return fail_at(s, line, "a '}' without a block that it could close");
    s->depth--;
    return 0;
}

/* In a value or a call. libConfuse leaks a call's arguments if it is malformed. */
static int in_value(struct scanner *s, int token, int line)
{
    bool word = token == TOKEN_WORD;

    if (s->state == AT_VALUE && (word || token == '{'))
        s->state = word ? AT_KEY : AT_FIRST;
    else if (s->state == AT_FIRST && word)
        s->state = IN_LIST;
    else if (s->state == AT_FIRST && token == '}')
        return fail_at(s, s->start_line, "a list needs at least one value");
    else if (s->state == IN_LIST && token == '}')
        s->state = AT_KEY;
    else if (s->state == IN_LIST && (word || token == ','))
        return 0;
    else if (s->state == AT_ARGUMENT && word)
        s->state = AT_CALL_END;
    else if (s->state == AT_CALL_END && token == ')')
        s->state = AT_KEY;
    else if (s->state == AT_ARGUMENT || s->state == AT_CALL_END)
        return fail_at(s, s->start_line,
                       "include takes one file name: include(\"routes.d/*.conf\")");
    else
        return config_fail(s->error_ctx, s->error, (struct config_place){s->file, line},
                           "a '%c' where a value should stand", token);
    return 0;
}

static int at_end(const struct scanner *s)
{
    if (s->state == AT_FIRST || s->state == IN_LIST)
        return fail_at(s, s->start_line, "this list is not closed: its '}' is missing");
    if (s->state == AT_VALUE)
        return fail_at(s, s->start_line, "this key has no value");
    if (s->state == IN_NAME)
        return fail_at(s, s->start_line, "a key needs \"= value\", a block \"{\" and \"}\"");
    if (s->state != AT_KEY)
        return fail_at(s, s->start_line, "a ')' is missing");
    if (s->depth > 0)
        return fail_at(s, s->open[s->depth - 1], "this block is not closed: its '}' is missing");
    return 0;
}

static int run(struct scanner *s)
{
    int token = TOKEN_END, line = 0, rc = 0;

    while (rc == 0) {
        if (next_token(s, &token, &line) == -1)
            return -1;
        if (token == TOKEN_END)
            return at_end(s);
        if (s->state == AT_KEY)
            rc = at_key(s, token, line);
        else if (s->state == IN_NAME)
            rc = after_name(s, token);
        else
            rc = in_value(s, token, line);
    }
    return rc;
}

int config_scan(TALLOC_CTX *ctx, TALLOC_CTX *error_ctx, const char *file, char *text, size_t len,
                struct config_scan *scan, struct config_error *error)
{
    struct scanner s = {
        .error_ctx = error_ctx,
        .error = error,
        .file = file,
        .text = text,
        .len = len,
        .line = 1,
        .scan = scan,
        .ctx = ctx,
    };

    *scan = (struct config_scan){0};
    if (strlen(text) != len) {
        for (const char *c = text; *c != '\0'; c++)
            s.line += *c == '\n';
        return fail_at(&s, s.line, "a NUL byte in a configuration file");
    }
    return run(&s);
}
