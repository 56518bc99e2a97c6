/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts that come from Redis beside entries and jobs: INFO, word of a step of its clock, and what
   other processes say of themselves. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#include "base/mem.h"
#include "cache/peer_word.h"
#include "cache/switch.h"
#include "redis/clock.h"
#include "redis/info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_info(const char *info)
{
    static const char *const names[] = {"redis_version", "maxmemory_policy", "role", "a", ""};
    char value[8];
    size_t problems = 0;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        memset(value, 'x', sizeof value);
        bool found = redis_info_find(info, names[i], value, sizeof value);
        must(memchr(value, '\0', sizeof value) != NULL && (found || value[0] == '\0'));
        must(strpbrk(value, "\r\n") == NULL && (!found || strstr(info, names[i]) != NULL));
    }
    redis_info_error(info, value, sizeof value);
    must(value[0] != '\0' && strlen(value) < sizeof value);
    must(strncmp(value, "an erro", 7) == 0 || strncmp(info, value, strlen(value)) == 0);
    while (redis_info_problem(info, problems) != NULL)
        problems++;
    must(problems <= 3);
}

/* Whatever one is told, nothing gets younger for it. */
static void check_step(const char *text, size_t len)
{
    static const int64_t now_us = 1795435200123456, local_us = 86400000000;
    struct redis_clock clock = {.known = false};
    struct redis_clock_step step, told;
    char again[REDIS_CLOCK_STEP_BYTES];

    if (redis_clock_step_parse(text, len, &step) == -1)
        return;
    redis_clock_step_format(&step, again);
    must(redis_clock_step_parse(again, strlen(again), &told) == 0);
    must(told.until_us == step.until_us && told.ahead_us == step.ahead_us);
    redis_clock_measure(&clock, local_us, local_us, now_us, 0);
    redis_clock_learn(&clock, &step);
    for (int64_t snapshot_us = 1; snapshot_us < 4 * now_us; snapshot_us *= 3)
        must(redis_clock_latest_for(&clock, snapshot_us, local_us) >=
             redis_clock_latest(&clock, local_us));
    /* what nobody can have told is not believed */
    if (step.until_us <= now_us + step.ahead_us)
        must(redis_clock_latest_for(&clock, step.until_us, local_us) >= now_us + step.ahead_us);
}

/* What is understood comes out as what is understood again. */
static void check_word(const char *text, size_t len)
{
    struct peer_word word, again;
    char written[PEER_WORD_BYTES];

    if (peer_word_read(text, len, &word) == -1)
        return;
    must((word.codes & ~(unsigned)PEER_CODES) == 0 && word.host[0] != '\0');
    size_t written_len = peer_word_write(&word, written);
    must(written_len < sizeof written && peer_word_read(written, written_len, &again) == 0);
    must(again.is_worker == word.is_worker && again.codes == word.codes &&
         strcmp(again.host, word.host) == 0 && strcmp(again.version, word.version) == 0);
}

/* What is taken in comes out the same. */
static void check_switches(const char *text)
{
    struct switch_list *list = mem_check(talloc_zero(NULL, struct switch_list));

    (void)switch_list_parse(text, list);
    must(list->count <= SWITCHES_MAX);
    for (size_t i = 0; i < list->count; i++) {
        struct cache_switch again;
        char value[SWITCH_VALUE_BYTES];
        switch_write_value(&list->items[i], value);
        must(switch_parse(list->items[i].name, value, &again));
        must(strcmp(again.name, list->items[i].name) == 0 &&
             strcmp(again.by, list->items[i].by) == 0 && again.until_ms == list->items[i].until_ms);
        must(switch_list_find(list, again.name, again.until_ms) == NULL);
        must(switch_list_find(list, again.name, again.until_ms - 1) != NULL);
    }
    talloc_free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_check(talloc_strndup(NULL, (const char *)data, size));

    check_info(text);
    check_switches(text);
    check_step((const char *)data, size);
    check_word((const char *)data, size);
    talloc_free(text);
    return 0;
}
