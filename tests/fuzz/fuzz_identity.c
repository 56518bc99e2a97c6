/* SPDX-License-Identifier: BSD-2-Clause */
/* What runtime_dir keeps of an identity: whatever is understood reads the same after it was written
   again. A note's fields from Redis: digits or nothing. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "app/identity_file.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_record(TALLOC_CTX *ctx, const char *text)
{
    struct identity_record record, again;

    if (identity_record_decode(ctx, text, &record) == -1)
        return;
    const struct destination *a = &record.destination, *b = &again.destination;
    must(identity_record_decode(ctx, identity_record_encode(ctx, &record), &again) == 0);
    must(strcmp(record.identity, again.identity) == 0);
    must(strcmp(record.configuration, again.configuration) == 0);
    must(identity_note_agrees(&record.known, &again.known));
    must(record.known.accepts == again.known.accepts && record.session == again.session);
    must(strcmp(a->hosts, b->hosts) == 0 && strcmp(a->database, b->database) == 0);
    must(strcmp(a->user, b->user) == 0 && strcmp(a->options, b->options) == 0);
}

static void check_note(const char *text)
{
    struct identity_note note;

    if (identity_note_set(&note, text, text, text) == -1)
        return;
    must(strcmp(note.system, text) == 0 && strcmp(note.database, text) == 0);
    must(text[strspn(text, "0123456789")] == '\0' && note.accepts >= 0);
    must(identity_note_agrees(&note, &note));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_check(talloc_strndup(NULL, (const char *)data, size));
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));

    check_record(ctx, text);
    check_note(text);
    talloc_free(ctx);
    talloc_free(text);
    return 0;
}
