/* SPDX-License-Identifier: BSD-2-Clause */
/* What an operator has switched off for a time, as it is kept in Redis for the fleet and in
   runtime_dir for a host (docs/redis.md): a name and a value. Pure. */
#ifndef LEEWAY_CACHE_SWITCH_H
#define LEEWAY_CACHE_SWITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SWITCH_NAME_BYTES = 264,
    SWITCH_BY_BYTES = 128,
    SWITCH_VALUE_BYTES = SWITCH_BY_BYTES + 24,
    SWITCHES_MAX = 64, /* at a time; who switches off is refused more */
};

struct cache_switch {
    char name[SWITCH_NAME_BYTES]; /* "refresh", or "route:" and a route's name */
    int64_t until_ms;             /* since the epoch, by the clock of whoever keeps it */
    char by[SWITCH_BY_BYTES];     /* who; printable, may be "" */
};

struct switch_list {
    struct cache_switch items[SWITCHES_MAX];
    size_t count;
};

/* The name for all refreshes, or for a route's responses. */
#define SWITCH_REFRESH "refresh"
#define SWITCH_ROUTE   "route:"

/* `value` is "UNTIL_MS BY". Texts that are no such thing: false. They are not those of `out`. */
bool switch_parse(const char *name, const char *value, struct cache_switch *out);
void switch_write_value(const struct cache_switch *off, char value[SWITCH_VALUE_BYTES]);

/* A file of lines "NAME VALUE", at most SWITCHES_MAX, and SWITCH_FILE_END, by which one that was
   cut off, or emptied, is known. false: it is no such file, and *list holds what there was of one.
 */
#define SWITCH_FILE_END "end\n"
bool switch_list_parse(const char *text, struct switch_list *list)
    __attribute__((warn_unused_result));

/* Appends, or replaces the one of that name. false: the list is full. */
bool switch_list_set(struct switch_list *list, const struct cache_switch *off);

/* Whether it was there. */
bool switch_list_remove(struct switch_list *list, const char *name);

/* The one of that name that is in force at `now_ms`, or NULL. */
const struct cache_switch *switch_list_find(const struct switch_list *list, const char *name,
                                            int64_t now_ms);

/* Without those that are over. */
void switch_list_prune(struct switch_list *list, int64_t now_ms);

#endif
