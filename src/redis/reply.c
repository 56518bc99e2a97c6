/* SPDX-License-Identifier: BSD-2-Clause */
/* What a reply says. */
#include "config.h"

#include "redis/reply.h"

#include <string.h>

static const struct {
    const char *word; /* that an error reply begins with */
    enum redis_refusal refusal;
} words[] = {
    {"NOPERM", REDIS_NO_RIGHT},
    {"ERR The user executing the script", REDIS_NO_RIGHT}, /* before 7.2 */
    {"NOAUTH", REDIS_NO_LOGIN},
    {"WRONGPASS", REDIS_NO_LOGIN},
    {"READONLY", REDIS_READ_ONLY},
    {"OOM", REDIS_FULL},
    {"MISCONF", REDIS_NOT_SAVING},
    {"NOREPLICAS", REDIS_NO_REPLICAS},
    {"BUSY", REDIS_BUSY},
    {"LOADING", REDIS_LOADING},
    {"MASTERDOWN", REDIS_LOADING},
    {"WRONGTYPE", REDIS_WRONG_TYPE},
};

static const char *const names[] = {
    [REDIS_NOT_REFUSED] = "not-refused",
    [REDIS_NO_RIGHT] = "no-right",
    [REDIS_NO_LOGIN] = "no-login",
    [REDIS_READ_ONLY] = "read-only",
    [REDIS_FULL] = "full",
    [REDIS_NOT_SAVING] = "not-saving",
    [REDIS_NO_REPLICAS] = "no-replicas",
    [REDIS_BUSY] = "busy",
    [REDIS_LOADING] = "loading",
    [REDIS_WRONG_TYPE] = "wrong-type",
    [REDIS_OTHER_ERROR] = "other-error",
};

/* Whether it begins with that word, and not with a longer one. */
static bool has_word(const char *text, size_t len, const char *word)
{
    size_t word_len = strlen(word);

    return len >= word_len && memcmp(text, word, word_len) == 0 &&
           (len == word_len || text[word_len] == ' ');
}

enum redis_refusal redis_refusal_of(const struct redis_reply *reply)
{
    if (reply == NULL || reply->kind != REDIS_ERROR)
        return REDIS_NOT_REFUSED;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (has_word(reply->text, reply->len, words[i].word))
            return words[i].refusal;
    return REDIS_OTHER_ERROR;
}

const char *redis_refusal_name(enum redis_refusal refusal)
{
    return names[refusal];
}

bool redis_reply_is(const struct redis_reply *reply, const char *text)
{
    return reply != NULL && reply->kind == REDIS_TEXT && reply->len == strlen(text) &&
           memcmp(reply->text, text, reply->len) == 0;
}

const struct redis_reply *redis_reply_element(const struct redis_reply *reply, size_t index,
                                              enum redis_kind kind)
{
    if (reply == NULL || reply->kind != REDIS_ARRAY || index >= reply->n_elements ||
        reply->elements[index]->kind != kind)
        return NULL;
    return reply->elements[index];
}
