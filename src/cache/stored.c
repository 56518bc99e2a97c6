/* SPDX-License-Identifier: BSD-2-Clause */
/* Forms are made at most once for each response that was read, and live as long as it. */
#include "config.h"

#include "cache/stored.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

void stored_form(const struct stored *stored, struct form *form)
{
    const struct cache_entry *entry = &stored->entry;

    *form = (struct form){
        .coding = entry->coding,
        .head = entry->head,
        .head_len = entry->head_len,
        .body_len = entry->body_len,
        .bytes = stored->bytes,
    };
}

/* With the room for header lines and a body behind it. */
static struct form *new_form(struct stored *stored, const struct coding *coding, size_t body_room)
{
    struct form *form = mem_check(talloc_zero(stored->bytes, struct form));

    form->coding = coding;
    form->bytes = mem_check(talloc_size(form, ENTRY_HEAD_BYTES + body_room));
    return form;
}

/* The body is there already, ENTRY_HEAD_BYTES behind the chunk's beginning; the header lines are
   put right before it. */
static void put_head(struct form *form, const char etag[ENTRY_ETAG_BYTES + 1], size_t body_len)
{
    char head[ENTRY_HEAD_BYTES];
    char *body = (char *)form->bytes + ENTRY_HEAD_BYTES;

    memcpy(form->etag, etag, ENTRY_ETAG_BYTES + 1);
    form->head_len = entry_head(head, form->coding, etag, body_len);
    form->body_len = body_len;
    form->head = memcpy(body - form->head_len, head, form->head_len);
}

static void log_unsound(const struct cache_entry *entry)
{
    log_event_limited(LOG_LEVEL_WARN, "a stored response does not decode: it is queried anew",
                      log_text("coding", entry->coding->name),
                      log_number("stored_bytes", (int64_t)entry->body_len),
                      log_number("stated_bytes", (int64_t)entry->plain_len));
}

bool stored_is_sound(struct stored *stored)
{
    const struct cache_entry *entry = &stored->entry;
    char etag[ENTRY_ETAG_BYTES + 1];

    if (entry->coding == NULL || stored->other != NULL)
        return true;
    struct form *plain = new_form(stored, NULL, entry->plain_len);
    char *body = (char *)plain->bytes + ENTRY_HEAD_BYTES;
    entry_etag(entry, true, etag);
    if (etag[0] == '\0' ||
        !entry->coding->decode(body, entry->plain_len, entry->body, entry->body_len)) {
        log_unsound(entry);
        talloc_free(plain);
        return false;
    }
    put_head(plain, etag, entry->plain_len);
    stored->other = plain;
    return true;
}

void stored_plain_form(struct stored *stored, struct form *form)
{
    if (stored->entry.coding == NULL) {
        stored_form(stored, form);
        return;
    }
    assert(stored->other != NULL);
    *form = *stored->other;
}

void stored_coded_form(struct stored *stored, const struct coding *coding, struct form *form)
{
    const struct cache_entry *entry = &stored->entry;
    char etag[ENTRY_ETAG_BYTES + 1];
    struct buf coded;

    assert(entry->coding == NULL);
    if (stored->other == NULL || stored->other->coding != coding) {
        buf_init(&coded, NULL, 0);
        coding_code_anyhow(coding, &coded, entry->body, entry->body_len);
        struct form *other = new_form(stored, coding, coded.len);
        memcpy((char *)other->bytes + ENTRY_HEAD_BYTES, coded.data, coded.len);
        entry_etag_of(coded.data, coded.len, etag);
        put_head(other, etag, coded.len);
        talloc_free(coded.data);
        stored->other = other;
    }
    *form = *stored->other;
}

void stored_drop_other(struct stored *stored)
{
    TALLOC_FREE(stored->other);
}
