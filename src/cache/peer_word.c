/* SPDX-License-Identifier: BSD-2-Clause */
/* Fields between single blanks. */
#include "config.h"

#include "cache/peer_word.h"

#include <stdio.h>
#include <string.h>

static const char *const code_names[] = {"postgres", "redis", "refresher", "identity", "draining"};

enum { FIELDS = 5, CODES = sizeof code_names / sizeof code_names[0], MAX_HEARD_MS = 999999999 };

#define HEARD "heard="

const char *peer_code_name(unsigned code)
{
    size_t i = 0;

    while (i + 1 < CODES && (code & 1U << i) == 0)
        i++;
    return code_names[i];
}

static void write_codes(const struct peer_word *word, char *out, size_t size)
{
    size_t len = 0;

    snprintf(out, size, "-");
    for (size_t i = 0; i < CODES; i++)
        if (((word->codes | word->doubts) & 1U << i) != 0)
            len += (size_t)snprintf(out + len, size - len, "%s%s%s", len > 0 ? "," : "",
                                    code_names[i], (word->codes & 1U << i) != 0 ? "" : "?");
    if (word->heard_ms > 0)
        snprintf(out + len, size - len, "%s" HEARD "%lld", len > 0 ? "," : "",
                 (long long)(word->heard_ms < MAX_HEARD_MS ? word->heard_ms : MAX_HEARD_MS));
}

size_t peer_word_write(const struct peer_word *word, char out[PEER_WORD_BYTES])
{
    char codes[PEER_TEXT_BYTES];

    write_codes(word, codes, sizeof codes);
    return (size_t)snprintf(out, PEER_WORD_BYTES, "1 %s %s %s %s",
                            word->is_worker ? "worker" : "refresher", word->host, word->version,
                            codes);
}

struct field {
    const char *text;
    size_t len;
};

static bool is(const struct field *field, const char *text)
{
    return field->len == strlen(text) && memcmp(field->text, text, field->len) == 0;
}

/* Exactly so many, none of them empty. */
static bool split(const char *text, size_t len, struct field fields[FIELDS])
{
    size_t count = 0;

    for (size_t at = 0; at <= len; at++) {
        size_t begin = at;
        while (at < len && text[at] != ' ')
            at++;
        if (count == FIELDS || at == begin)
            return false;
        fields[count++] = (struct field){text + begin, at - begin};
    }
    return count == FIELDS;
}

static bool take(const struct field *field, char out[PEER_TEXT_BYTES])
{
    if (field->len >= PEER_TEXT_BYTES || memchr(field->text, '\0', field->len) != NULL)
        return false;
    memcpy(out, field->text, field->len);
    out[field->len] = '\0';
    return true;
}

static unsigned read_code(const struct field *name)
{
    for (size_t i = 0; i < CODES; i++)
        if (is(name, code_names[i]))
            return 1U << i;
    return 0;
}

/* What is no such number is left out. */
static int64_t read_heard(const struct field *field)
{
    const size_t begin = strlen(HEARD);
    int64_t ms = 0;

    if (field->len <= begin || memcmp(field->text, HEARD, begin) != 0)
        return 0;
    for (size_t i = begin; i < field->len; i++) {
        if (field->text[i] < '0' || field->text[i] > '9' || ms > MAX_HEARD_MS / 10)
            return 0;
        ms = 10 * ms + (field->text[i] - '0');
    }
    return ms;
}

static void read_codes(const struct field *field, struct peer_word *word)
{
    for (size_t at = 0; at < field->len; at++) {
        size_t begin = at;
        while (at < field->len && field->text[at] != ',')
            at++;
        const struct field name = {field->text + begin, at - begin};
        const struct field doubted = {name.text, name.len > 0 ? name.len - 1 : 0};
        int64_t heard_ms = read_heard(&name);
        word->codes |= read_code(&name);
        if (name.len > 0 && name.text[name.len - 1] == '?')
            word->doubts |= read_code(&doubted);
        word->heard_ms = heard_ms > 0 ? heard_ms : word->heard_ms;
    }
}

int peer_word_read(const char *text, size_t len, struct peer_word *word)
{
    struct field fields[FIELDS];

    *word = (struct peer_word){.codes = 0};
    if (!split(text, len, fields) || !is(&fields[0], "1") ||
        (!is(&fields[1], "worker") && !is(&fields[1], "refresher")))
        return -1;
    word->is_worker = is(&fields[1], "worker");
    read_codes(&fields[4], word);
    return take(&fields[2], word->host) && take(&fields[3], word->version) ? 0 : -1;
}

void peer_text_clean(char *text)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

    for (; *text != '\0'; text++)
        if (strchr(good, *text) == NULL)
            *text = '_';
}

unsigned peer_free_of(const struct peer_word *mine, const struct peer_word *theirs)
{
    if (!theirs->is_worker || strcmp(mine->host, theirs->host) == 0 ||
        (theirs->codes & (PEER_IDENTITY | PEER_DRAINING)) != 0)
        return 0;
    return PEER_CODES & ~(theirs->codes | theirs->doubts);
}
