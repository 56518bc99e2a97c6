/* SPDX-License-Identifier: BSD-2-Clause */
/* Digits and their comparison. */
#include "config.h"

#include "cache/identity_note.h"

#include <stdio.h>
#include <string.h>

#include "base/num.h"

static int set_digits(char *out, size_t size, const char *text)
{
    if (text == NULL)
        text = "";
    if (strlen(text) >= size || text[strspn(text, "0123456789")] != '\0')
        return -1;
    strcpy(out, text);
    return 0;
}

int identity_note_set(struct identity_note *note, const char *system, const char *database,
                      const char *accepts)
{
    *note = (struct identity_note){.accepts = 0};
    if (set_digits(note->system, sizeof note->system, system) == -1 ||
        set_digits(note->database, sizeof note->database, database) == -1)
        return -1;
    return num_parse_i64(accepts, strlen(accepts), &note->accepts) && note->accepts >= 0 ? 0 : -1;
}

void identity_note_complete(struct identity_note *note, const struct identity_note *by)
{
    if (note->system[0] == '\0' && note->accepts <= by->accepts && identity_note_agrees(note, by))
        strcpy(note->system, by->system);
}

bool identity_note_agrees(const struct identity_note *a, const struct identity_note *b)
{
    bool comparable = a->system[0] != '\0' && b->system[0] != '\0';

    return strcmp(a->database, b->database) == 0 &&
           (!comparable || strcmp(a->system, b->system) == 0);
}
