/* SPDX-License-Identifier: BSD-2-Clause */
/* The field is read once, element by element. */
#include "config.h"

#include "http/accept_encoding.h"

#include <string.h>
#include <strings.h>

/* Thousandths, as many as a weight has (RFC 9110, section 12.4.2). */
enum { UNSTATED = -1, LEAST = 1, FULL = 1000 };

struct element {
    const char *name;
    size_t name_len;
    int weight; /* thousandths; UNSTATED: not one */
};

static const char *skip_spaces(const char *at)
{
    return at + strspn(at, " \t");
}

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* "0", "0.", "0.5", "1.000": at most three places and at most 1. Behind it, or NULL. */
static const char *read_weight(const char *at, int *weight)
{
    int place = 100;

    if (*at != '0' && *at != '1')
        return NULL;
    *weight = *at++ == '1' ? FULL : 0;
    if (*at != '.')
        return at;
    for (at++; *at >= '0' && *at <= '9' && place > 0; at++, place /= 10)
        *weight += (*at - '0') * place;
    return *weight <= FULL && !(*at >= '0' && *at <= '9') ? at : NULL;
}

/* "; q=0.5", or nothing, which is full weight; NULL: something else. */
static const char *read_parameter(const char *at, int *weight)
{
    *weight = FULL;
    if (*at != ';')
        return at;
    at = skip_spaces(at + 1);
    if ((*at != 'q' && *at != 'Q') || at[1] != '=')
        return NULL;
    at = read_weight(at + 2, weight);
    return at != NULL ? skip_spaces(at) : NULL;
}

/* Reads one element and returns what lies behind its comma; at the end, the end. */
static const char *read_element(const char *at, struct element *element)
{
    at += strspn(at, " \t,");
    element->name = at;
    while (is_token_char(*at))
        at++;
    element->name_len = (size_t)(at - element->name);
    const char *end = read_parameter(skip_spaces(at), &element->weight);
    if (end != NULL && (*end == ',' || *end == '\0') && element->name_len > 0)
        return end;
    element->weight = UNSTATED;
    return at + strcspn(at, ",");
}

static bool is_named(const struct element *element, const char *name)
{
    return strlen(name) == element->name_len &&
           strncasecmp(name, element->name, element->name_len) == 0;
}

static bool is_of_coding(const struct element *element, const char *coding)
{
    struct element behind = *element;

    if (is_named(element, coding))
        return true;
    if (element->name_len <= 2 || strncasecmp(element->name, "x-", 2) != 0)
        return false;
    behind.name += 2;
    behind.name_len -= 2;
    return is_named(&behind, coding);
}

static void note(int *weight, int stated)
{
    if (*weight == UNSTATED)
        *weight = stated;
}

struct acceptance accept_encoding(const char *field, const char *coding)
{
    int plain = UNSTATED, coded = UNSTATED, any = UNSTATED;
    struct element element;

    if (field == NULL)
        return (struct acceptance){.plain = true};
    while (*field != '\0') {
        field = read_element(field, &element);
        if (element.weight == UNSTATED)
            continue;
        if (is_named(&element, "identity"))
            note(&plain, element.weight);
        else if (is_named(&element, "*"))
            note(&any, element.weight);
        else if (coding != NULL && is_of_coding(&element, coding))
            note(&coded, element.weight);
    }
    note(&plain, any != UNSTATED ? any : LEAST);
    note(&coded, any != UNSTATED && coding != NULL ? any : 0);
    return (struct acceptance){
        .plain = plain > 0,
        .coded = coded > 0,
        .prefers_coded = coded > 0 && coded >= plain,
    };
}
