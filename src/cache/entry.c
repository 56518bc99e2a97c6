/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoding and decoding of stored responses. */
#include "config.h"

#include "cache/entry.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* "lw1 SNAPSHOT STATUS HASH HEAD BODY\n" */
enum {
    MAGIC_BYTES = ENTRY_SNAPSHOT_AT,
    STATUS_DIGITS = 3,
    HASH_DIGITS = ENTRY_ETAG_BYTES - 2,
    HEAD_DIGITS = 8,
    BODY_DIGITS = 9,
};

_Static_assert(ENTRY_PREFIX_BYTES == MAGIC_BYTES + ENTRY_SNAPSHOT_DIGITS + STATUS_DIGITS +
                                         HASH_DIGITS + HEAD_DIGITS + BODY_DIGITS + 5,
               "four spaces and a line feed");

/* 404 and 410 are problem documents, which have no tag. */
static bool is_known(int status)
{
    return status == 200 || status == 404 || status == 410;
}

static const int64_t max_snapshot_us = INT64_C(9999999999999999);

static void format_hash(const char *body, size_t body_len, char hash[HASH_DIGITS + 1])
{
    XXH128_hash_t value = XXH3_128bits(body, body_len);

    snprintf(hash, HASH_DIGITS + 1, "%016" PRIx64 "%016" PRIx64, (uint64_t)value.high64,
             (uint64_t)value.low64);
}

static size_t format_head(char *head, size_t size, int status, const char *hash, size_t body_len)
{
    int len;

    if (status == 200)
        len = snprintf(head, size,
                       "Content-Type: application/json\r\n"
                       "ETag: \"%s\"\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       hash, body_len);
    else
        len = snprintf(head, size,
                       "Content-Type: application/problem+json\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       body_len);
    assert(len > 0 && (size_t)len < size);
    return (size_t)len;
}

void entry_encode(struct buf *out, int64_t snapshot_us, int status, const char *body,
                  size_t body_len)
{
    char hash[HASH_DIGITS + 1];
    char head[192];

    assert(is_known(status));
    assert(body_len <= ENTRY_MAX_BODY_BYTES);
    if (snapshot_us < 0)
        snapshot_us = 0;
    if (snapshot_us > max_snapshot_us)
        snapshot_us = max_snapshot_us;
    format_hash(body, body_len, hash);
    size_t head_len = format_head(head, sizeof head, status, hash, body_len);
    buf_printf(out, "lw%d %0*" PRId64 " %0*d %s %0*zu %0*zu\n", ENTRY_VERSION,
               ENTRY_SNAPSHOT_DIGITS, snapshot_us, STATUS_DIGITS, status, hash, HEAD_DIGITS,
               head_len, BODY_DIGITS, body_len);
    buf_append(out, head, head_len);
    buf_append(out, body, body_len);
}

/* The next piece of the prefix. */
struct reader {
    const char *at;
    bool damaged;
};

static int64_t read_digits(struct reader *reader, int digits)
{
    int64_t value = 0;

    for (; digits > 0; digits--, reader->at++) {
        if (*reader->at < '0' || *reader->at > '9')
            reader->damaged = true;
        value = value * 10 + (*reader->at - '0');
    }
    return value;
}

static void read_char(struct reader *reader, char expected)
{
    if (*reader->at++ != expected)
        reader->damaged = true;
}

static void read_etag(struct reader *reader, char etag[ENTRY_ETAG_BYTES + 1])
{
    etag[0] = '"';
    for (int i = 1; i <= HASH_DIGITS; i++) {
        char c = *reader->at++;
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            reader->damaged = true;
        etag[i] = c;
    }
    etag[HASH_DIGITS + 1] = '"';
    etag[HASH_DIGITS + 2] = '\0';
}

/* Whether `head` ends as header lines do, so that the body cannot become one. */
static bool ends_with_empty_line(const char *head, size_t len)
{
    return len >= 4 && memcmp(head + len - 4, "\r\n\r\n", 4) == 0;
}

int entry_decode(const char *bytes, size_t len, struct cache_entry *entry)
{
    struct reader reader = {.at = bytes};

    if (len < ENTRY_PREFIX_BYTES)
        return -1;
    read_char(&reader, 'l');
    read_char(&reader, 'w');
    read_char(&reader, '0' + ENTRY_VERSION);
    read_char(&reader, ' ');
    entry->snapshot_us = read_digits(&reader, ENTRY_SNAPSHOT_DIGITS);
    read_char(&reader, ' ');
    entry->status = (int)read_digits(&reader, STATUS_DIGITS);
    read_char(&reader, ' ');
    read_etag(&reader, entry->etag);
    read_char(&reader, ' ');
    entry->head_len = (size_t)read_digits(&reader, HEAD_DIGITS);
    read_char(&reader, ' ');
    entry->body_len = (size_t)read_digits(&reader, BODY_DIGITS);
    read_char(&reader, '\n');
    if (reader.damaged || !is_known(entry->status))
        return -1;
    if (len - ENTRY_PREFIX_BYTES != entry->head_len + entry->body_len)
        return -1;
    entry->head = reader.at;
    entry->body = reader.at + entry->head_len;
    if (entry->status != 200)
        entry->etag[0] = '\0';
    return ends_with_empty_line(entry->head, entry->head_len) ? 0 : -1;
}
