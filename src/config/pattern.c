/* SPDX-License-Identifier: BSD-2-Clause */
/* Splitting, checking and naming URL patterns. */
#include "config.h"

#include "config/pattern.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "config/model.h"

bool pattern_next(const char **cursor, struct pattern_segment *segment)
{
    if (**cursor != '/')
        return false;
    const char *text = *cursor + 1;
    size_t len = strcspn(text, "/");

    *cursor = text + len;
    segment->is_name = len >= 2 && text[0] == '{' && text[len - 1] == '}';
    segment->text = segment->is_name ? text + 1 : text;
    segment->len = segment->is_name ? len - 2 : len;
    return true;
}

static bool is_identifier(const char *text, size_t len)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

    return len > 0 && strspn(text, letters) >= len && !(text[0] >= '0' && text[0] <= '9');
}

static const char *characters_problem(const char *pattern)
{
    if (pattern[0] != '/')
        return "it must begin with '/'";
    for (const char *c = pattern; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return "it has a control character";
        if (*c == '?' || *c == '#')
            return "it must be a path only, without '?' and '#'";
        if (*c == '%')
            return "characters stand for themselves in it, '%' must not be used";
    }
    return NULL;
}

static const char *segment_problem(TALLOC_CTX *ctx, const struct pattern_segment *segment,
                                   bool is_last)
{
    const char *text = segment->text;
    size_t len = segment->len;

    if (segment->is_name && !is_identifier(text, len))
        return mem_check(talloc_asprintf(ctx,
                                         "the name in {%.*s} must be letters, digits and '_', and "
                                         "not begin with a digit",
                                         (int)len, text));
    if (segment->is_name)
        return NULL;
    if (memchr(text, '{', len) != NULL || memchr(text, '}', len) != NULL)
        return mem_check(talloc_asprintf(
            ctx, "a {name} must be a whole segment, not a part of \"%.*s\"", (int)len, text));
    if (len == 0 && !is_last)
        return "it has an empty segment (\"//\")";
    if ((len == 1 && text[0] == '.') || (len == 2 && memcmp(text, "..", 2) == 0))
        return "it has a \".\" or \"..\" segment, which no request can match";
    return NULL;
}

static bool named_before(const char *pattern, const struct pattern_segment *segment)
{
    struct pattern_segment other;

    while (pattern_next(&pattern, &other) && other.text != segment->text)
        if (other.is_name && other.len == segment->len &&
            memcmp(other.text, segment->text, other.len) == 0)
            return true;
    return false;
}

const char *pattern_problem(TALLOC_CTX *ctx, const char *pattern)
{
    const char *problem = characters_problem(pattern);
    const char *cursor = pattern;
    struct pattern_segment segment;
    int segments = 0;

    while (problem == NULL && pattern_next(&cursor, &segment)) {
        problem = segment_problem(ctx, &segment, *cursor == '\0');
        if (problem == NULL && segment.is_name && named_before(pattern, &segment))
            problem = mem_check(
                talloc_asprintf(ctx, "it has {%.*s} twice", (int)segment.len, segment.text));
        if (problem == NULL && ++segments > CONFIG_MAX_SEGMENTS)
            problem = mem_check(
                talloc_asprintf(ctx, "it has more than %d segments", CONFIG_MAX_SEGMENTS));
    }
    return problem;
}

const char *pattern_path_problem(TALLOC_CTX *ctx, const char *path)
{
    if (strpbrk(path, "{}") != NULL)
        return "it cannot have a {name}";
    return pattern_problem(ctx, path);
}

bool pattern_has_name(const char *pattern, const char *name)
{
    struct pattern_segment segment;

    while (pattern_next(&pattern, &segment))
        if (segment.is_name && segment.len == strlen(name) &&
            memcmp(segment.text, name, segment.len) == 0)
            return true;
    return false;
}

char *pattern_route_name(TALLOC_CTX *ctx, const char *pattern)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    struct pattern_segment segment;
    struct buf name;

    buf_init(&name, ctx, strlen(pattern));
    while (pattern_next(&pattern, &segment)) {
        if (name.len > 0)
            buf_append_char(&name, '.');
        for (size_t i = 0; i < segment.len; i++)
            buf_append_char(&name, strchr(allowed, segment.text[i]) ? segment.text[i] : '_');
    }
    if (name.len == 0)
        buf_append_str(&name, "root");
    return name.data;
}
