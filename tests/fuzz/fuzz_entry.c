/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever decodes as an entry has its slices inside the input and is, but for header lines
   and hash, what encoding it again gives; and what encodes any body decodes to it, if not a
   byte is missing or too many. */
#include "config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_etag(const struct cache_entry *entry)
{
    const char *etag = entry->etag;

    if (entry->status != 200)
        must(etag[0] == '\0');
    else
        must(strlen(etag) == ENTRY_ETAG_BYTES && etag[0] == '"' &&
             strspn(etag + 1, "0123456789abcdef") == ENTRY_ETAG_BYTES - 2 &&
             etag[ENTRY_ETAG_BYTES - 1] == '"');
}

static void check_round_trip(int64_t snapshot_us, int status, const char *body, size_t len)
{
    struct cache_entry entry;
    struct buf out;

    buf_init(&out, NULL, 0);
    entry_encode(&out, snapshot_us, status, body, len);
    must(entry_decode(out.data, out.len, &entry) == 0);
    must(entry.status == status && entry.body_len == len && memcmp(entry.body, body, len) == 0);
    must(entry.snapshot_us >= 0 &&
         (entry.snapshot_us == snapshot_us || snapshot_us < 0 || entry.snapshot_us < snapshot_us));
    check_etag(&entry);
    must(entry_decode(out.data, out.len - 1, &entry) == -1);
    buf_append_char(&out, ' ');
    must(entry_decode(out.data, out.len, &entry) == -1);
    talloc_free(out.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct cache_entry entry;
    static const int statuses[] = {200, 404, 410};
    int64_t snapshot_us = 0;

    memcpy(&snapshot_us, data, size < sizeof snapshot_us ? size : sizeof snapshot_us);
    check_round_trip(snapshot_us, statuses[size % 3], bytes, size);
    if (entry_decode(bytes, size, &entry) == -1)
        return 0;
    must(entry.head == bytes + ENTRY_PREFIX_BYTES && entry.body == entry.head + entry.head_len &&
         entry.body + entry.body_len == bytes + size);
    check_etag(&entry);
    check_round_trip(entry.snapshot_us, entry.status, entry.body, entry.body_len);
    return 0;
}
