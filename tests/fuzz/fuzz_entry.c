/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever decodes as an entry has its slices inside the input; a body in a coding decodes to the
   stated length or is refused; and what encodes any body decodes to it, if not a byte is missing or
   too many, and not for another key. */
#include "config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache/stored.h"

/* Of the key that the seeds have. */
static const char base[] = "leeway:{r.0123456789abcdef:=7}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_etag(const struct cache_entry *entry, bool plain)
{
    char etag[ENTRY_ETAG_BYTES + 1];

    entry_etag(entry, plain, etag);
    if (etag[0] == '\0')
        return;
    must(entry->status == 200 && strlen(etag) == ENTRY_ETAG_BYTES && etag[0] == '"' &&
         strspn(etag + 1, "0123456789abcdef") == ENTRY_ETAG_BYTES - 2 &&
         etag[ENTRY_ETAG_BYTES - 1] == '"');
}

static struct entry_facts facts_of(int64_t snapshot_us, int status, bool coded)
{
    return (struct entry_facts){
        .snapshot_us = snapshot_us,
        .arrival_us = snapshot_us,
        .clock = "0123456789abcdef",
        .status = status,
        .key = entry_key(base),
        .tags = coded ? "a\nb\n" : "",
        .varies = coded,
        .coding = coded ? coding_of("gzip", 4) : NULL,
    };
}

/* In each form what was encoded comes back. */
static void check_forms(struct stored *stored, const char *body, size_t len)
{
    struct form form;

    must(stored->entry.plain_len == len && stored_is_sound(stored));
    stored_plain_form(stored, &form);
    must(form.body_len == len && memcmp(form.head + form.head_len, body, len) == 0);
    if (stored->entry.coding == NULL)
        stored_coded_form(stored, coding_of("gzip", 4), &form);
}

static void check_round_trip(const struct entry_facts *facts, const char *body, size_t len)
{
    struct stored stored = {.bytes = NULL};
    struct cache_entry *entry = &stored.entry;
    struct buf out;

    buf_init(&out, NULL, 0);
    entry_encode(&out, facts, body, len);
    must(entry_decode(out.data, out.len, facts->key, entry) == 0);
    must(entry_decode(out.data, out.len, facts->key + 1, entry) == -1);
    must(entry_decode(out.data, out.len - 1, facts->key, entry) == -1);
    must(entry_decode(out.data, out.len, facts->key, entry) == 0);
    must(entry->status == facts->status && entry->tags_len == strlen(facts->tags));
    check_etag(entry, true);
    check_etag(entry, false);
    stored.bytes = out.data;
    check_forms(&stored, body, len);
    talloc_free(out.data);
}

/* What lies in Redis may be anything. */
static void check_found(const char *bytes, size_t size)
{
    struct stored stored = {.bytes = NULL};
    const struct cache_entry *entry = &stored.entry;
    struct form form;

    if (entry_decode(bytes, size, entry_key(base), &stored.entry) == -1)
        return;
    must(entry->tags == bytes + ENTRY_PREFIX_BYTES &&
         entry->head == entry->tags + entry->tags_len &&
         entry->body == entry->head + entry->head_len &&
         entry->body + entry->body_len == bytes + size);
    check_etag(entry, true);
    check_etag(entry, false);
    stored.bytes = talloc_memdup(NULL, bytes, size);
    if (stored_is_sound(&stored)) {
        stored_plain_form(&stored, &form);
        must(form.body_len == entry->plain_len);
    }
    talloc_free(stored.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 404, 410};
    const char *bytes = (const char *)data;
    int64_t snapshot_us = 0;

    memcpy(&snapshot_us, data, size < sizeof snapshot_us ? size : sizeof snapshot_us);
    for (int coded = 0; coded < 2; coded++) {
        struct entry_facts facts = facts_of(snapshot_us, statuses[size % 3], coded == 1);
        check_round_trip(&facts, bytes, size);
    }
    check_found(bytes, size);
    return 0;
}
