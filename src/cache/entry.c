/* SPDX-License-Identifier: BSD-2-Clause */
/* The prefix line: "lw1 <snapshot, 16> <status, 3> <tag, 32> <head, 8> <body, 8>\n". */
#include "config.h"

#include "cache/entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum {
    STATUS_AT = ENTRY_SNAPSHOT_AT + ENTRY_SNAPSHOT_DIGITS + 1,
    STATUS_DIGITS = 3,
    TAG_AT = STATUS_AT + STATUS_DIGITS + 1,
    TAG_DIGITS = 32,
    HEAD_LEN_AT = TAG_AT + TAG_DIGITS + 1,
    LEN_DIGITS = 8,
    BODY_LEN_AT = HEAD_LEN_AT + LEN_DIGITS + 1,
    END_AT = BODY_LEN_AT + LEN_DIGITS,
};

_Static_assert(END_AT + 1 == ENTRY_PREFIX_BYTES, "the prefix line has a fixed width");

static void make_tag(char tag[TAG_DIGITS + 1], const char *body, size_t len)
{
    XXH128_hash_t hash = XXH3_128bits(body, len);

    snprintf(tag, TAG_DIGITS + 1, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64,
             (uint64_t)hash.low64);
}

void entry_encode(struct buf *out, int64_t snapshot_us, int status, const char *body,
                  size_t body_len)
{
    char tag[TAG_DIGITS + 1];
    char head[160];
    int head_len;

    make_tag(tag, body, body_len);
    if (status == 200)
        head_len = snprintf(head, sizeof head,
                            "Content-Type: application/json\r\n"
                            "ETag: \"%s\"\r\n"
                            "Content-Length: %zu\r\n\r\n",
                            tag, body_len);
    else
        head_len = snprintf(head, sizeof head,
                            "Content-Type: application/problem+json\r\n"
                            "Content-Length: %zu\r\n\r\n",
                            body_len);
    buf_printf(out, "lw%d %016" PRId64 " %03d %s %08d %08zu\n", ENTRY_VERSION, snapshot_us, status,
               tag, head_len, body_len);
    buf_append(out, head, (size_t)head_len);
    buf_append(out, body, body_len);
}

/* Exactly `digits` decimal digits; -1 if there is anything else. */
static int64_t read_digits(const char *bytes, int digits)
{
    int64_t value = 0;

    for (int i = 0; i < digits; i++) {
        if (bytes[i] < '0' || bytes[i] > '9')
            return -1;
        value = value * 10 + (bytes[i] - '0');
    }
    return value;
}

static int check_separators(const char *bytes)
{
    static const int spaces[] = {STATUS_AT - 1, TAG_AT - 1, HEAD_LEN_AT - 1, BODY_LEN_AT - 1};

    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
        if (bytes[spaces[i]] != ' ')
            return -1;
    return bytes[END_AT] == '\n' ? 0 : -1;
}

/* Digits only, so that nothing else gets into a header line. */
static int read_tag(const char *bytes, char etag[ENTRY_ETAG_BYTES + 1])
{
    if (strspn(bytes, "0123456789abcdef") < TAG_DIGITS)
        return -1;
    etag[0] = '"';
    memcpy(etag + 1, bytes, TAG_DIGITS);
    etag[TAG_DIGITS + 1] = '"';
    etag[TAG_DIGITS + 2] = '\0';
    return 0;
}

int entry_decode(const char *bytes, size_t len, struct cache_entry *entry)
{
    if (len < ENTRY_PREFIX_BYTES || memcmp(bytes, "lw1 ", ENTRY_SNAPSHOT_AT) != 0 ||
        check_separators(bytes) == -1 || read_tag(bytes + TAG_AT, entry->etag) == -1)
        return -1;

    int64_t snapshot_us = read_digits(bytes + ENTRY_SNAPSHOT_AT, ENTRY_SNAPSHOT_DIGITS);
    int64_t status = read_digits(bytes + STATUS_AT, STATUS_DIGITS);
    int64_t head_len = read_digits(bytes + HEAD_LEN_AT, LEN_DIGITS);
    int64_t body_len = read_digits(bytes + BODY_LEN_AT, LEN_DIGITS);
    if (snapshot_us == -1 || (status != 200 && status != 404) || head_len < 4 || body_len == -1 ||
        (int64_t)len != ENTRY_PREFIX_BYTES + head_len + body_len)
        return -1;

    entry->snapshot_us = snapshot_us;
    entry->status = (int)status;
    entry->head = bytes + ENTRY_PREFIX_BYTES;
    entry->head_len = (size_t)head_len;
    entry->body = entry->head + head_len;
    entry->body_len = (size_t)body_len;
    return memcmp(entry->body - 4, "\r\n\r\n", 4) == 0 ? 0 : -1;
}
