/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever decodes as an entry has its slices inside the input and is, but for header lines
   and hash, what encoding it again gives. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct cache_entry entry, again;
    struct buf out;

    if (entry_decode(bytes, size, &entry) == -1)
        return 0;
    if (entry.head != bytes + ENTRY_PREFIX_BYTES || entry.body != entry.head + entry.head_len ||
        entry.body + entry.body_len != bytes + size)
        abort();
    buf_init(&out, NULL, 0);
    entry_encode(&out, entry.snapshot_us, entry.status, entry.body, entry.body_len);
    if (entry_decode(out.data, out.len, &again) == -1 || again.snapshot_us != entry.snapshot_us ||
        again.status != entry.status || again.body_len != entry.body_len ||
        memcmp(again.body, entry.body, entry.body_len) != 0)
        abort();
    talloc_free(out.data);
    return 0;
}
