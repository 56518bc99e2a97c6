/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts and a short list. */
#include "config.h"

#include "cache/switch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || (unsigned char)*text >= 0x7f)
            return false;
    return true;
}

static bool is_name(const char *name)
{
    size_t len = strlen(name), route = strlen(SWITCH_ROUTE);

    if (len >= SWITCH_NAME_BYTES || !is_printable(name) || strchr(name, ' ') != NULL)
        return false;
    return strcmp(name, SWITCH_REFRESH) == 0 ||
           (len > route && strncmp(name, SWITCH_ROUTE, route) == 0);
}

bool switch_parse(const char *name, const char *value, struct cache_switch *out)
{
    size_t digits = strcspn(value, " ");
    const char *by = value[digits] == ' ' ? value + digits + 1 : "";

    memset(out, 0, sizeof *out);
    if (!is_name(name) || strlen(by) >= SWITCH_BY_BYTES || !is_printable(by) ||
        !num_parse_i64(value, digits, &out->until_ms) || out->until_ms < 0)
        return false;
    strcpy(out->name, name);
    strcpy(out->by, by);
    return true;
}

void switch_write_value(const struct cache_switch *off, char value[SWITCH_VALUE_BYTES])
{
    snprintf(value, SWITCH_VALUE_BYTES, "%" PRId64 " %s", off->until_ms, off->by);
}

static struct cache_switch *find(struct switch_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

bool switch_list_set(struct switch_list *list, const struct cache_switch *off)
{
    struct cache_switch *found = find(list, off->name);

    if (found == NULL && list->count == SWITCHES_MAX)
        return false;
    if (found == NULL)
        found = &list->items[list->count++];
    *found = *off;
    return true;
}

bool switch_list_remove(struct switch_list *list, const char *name)
{
    struct cache_switch *found = find(list, name);

    if (found == NULL)
        return false;
    *found = list->items[--list->count];
    return true;
}

const struct cache_switch *switch_list_find(const struct switch_list *list, const char *name,
                                            int64_t now_ms)
{
    const struct cache_switch *found = find((struct switch_list *)(uintptr_t)list, name);

    return found != NULL && found->until_ms > now_ms ? found : NULL;
}

void switch_list_prune(struct switch_list *list, int64_t now_ms)
{
    for (size_t i = list->count; i-- > 0;)
        if (list->items[i].until_ms <= now_ms)
            list->items[i] = list->items[--list->count];
}

static bool parse_line(const char *text, size_t len, struct switch_list *list)
{
    char line[SWITCH_NAME_BYTES + SWITCH_VALUE_BYTES + 2];
    struct cache_switch off;

    if (len >= sizeof line)
        return false;
    memcpy(line, text, len);
    line[len] = '\0';
    char *value = strchr(line, ' ');
    if (value == NULL)
        return false;
    *value++ = '\0';
    return switch_parse(line, value, &off) && switch_list_set(list, &off);
}

bool switch_list_parse(const char *text, struct switch_list *list)
{
    list->count = 0;
    while (strcmp(text, SWITCH_FILE_END) != 0) {
        size_t len = strcspn(text, "\n");
        if (text[len] == '\0' || !parse_line(text, len, list))
            return false;
        text += len + 1;
    }
    return true;
}
