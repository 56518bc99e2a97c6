/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoding and decoding of stored responses. */
#include "config.h"

#include "cache/entry.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* "lw2 SNAPSHOT ARRIVAL CLOCK STATUS CODING KEY PLAIN-HASH HASH TAGS HEAD BODY PLAIN\n" */
enum {
    MAGIC_BYTES = ENTRY_SNAPSHOT_AT,
    TIME_DIGITS = ENTRY_SNAPSHOT_DIGITS,
    STATUS_DIGITS = 3,
    KEY_DIGITS = 16,
    HASH_DIGITS = ENTRY_ETAG_BYTES - 2,
    TAGS_DIGITS = 6,
    HEAD_DIGITS = 6,
    BODY_DIGITS = 9,
};

_Static_assert(ENTRY_PREFIX_BYTES == MAGIC_BYTES + 2 * TIME_DIGITS + ENTRY_CLOCK_BYTES +
                                         STATUS_DIGITS + CODING_NAME_BYTES + KEY_DIGITS +
                                         2 * HASH_DIGITS + TAGS_DIGITS + HEAD_DIGITS +
                                         2 * BODY_DIGITS + 12,
               "eleven spaces and a line feed");

static const char plain_name[] = "identity";

_Static_assert(sizeof plain_name - 1 == CODING_NAME_BYTES, "the longest name");

/* 404 and 410 are problem documents, which have no tag. */
static bool is_known(int status)
{
    return status == 200 || status == 404 || status == 410;
}

uint64_t entry_key(const char *base)
{
    return XXH3_64bits(base, strlen(base));
}

/* ---- Encoding */

static int64_t within_digits(int64_t time_us)
{
    static const int64_t max_us = INT64_C(9999999999999999);

    if (time_us < 0)
        return 0;
    return time_us < max_us ? time_us : max_us;
}

static void print_hash(const struct entry_hash *value, char hash[HASH_DIGITS + 1])
{
    snprintf(hash, HASH_DIGITS + 1, "%016" PRIx64 "%016" PRIx64, value->high, value->low);
}

static void format_hash(const char *body, size_t body_len, char hash[HASH_DIGITS + 1])
{
    XXH128_hash_t value = XXH3_128bits(body, body_len);

    print_hash(&(struct entry_hash){value.high64, value.low64}, hash);
}

static void quote(const char *hash, char etag[ENTRY_ETAG_BYTES + 1])
{
    etag[0] = '"';
    memcpy(etag + 1, hash, HASH_DIGITS);
    etag[HASH_DIGITS + 1] = '"';
    etag[HASH_DIGITS + 2] = '\0';
}

static size_t format_head(char head[ENTRY_HEAD_BYTES], const struct coding *coding, bool varies,
                          const char *etag, size_t body_len)
{
    int len = snprintf(head, ENTRY_HEAD_BYTES,
                       "Content-Type: application/json\r\n"
                       "%s%s%s"
                       "%s"
                       "ETag: %s\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       coding != NULL ? "Content-Encoding: " : "",
                       coding != NULL ? coding->name : "", coding != NULL ? "\r\n" : "",
                       varies ? "Vary: Accept-Encoding\r\n" : "", etag, body_len);

    assert(len > 0 && len < ENTRY_HEAD_BYTES);
    return (size_t)len;
}

size_t entry_head(char head[ENTRY_HEAD_BYTES], const struct coding *coding, const char *etag,
                  size_t body_len)
{
    return format_head(head, coding, true, etag, body_len);
}

static size_t format_problem_head(char head[ENTRY_HEAD_BYTES], size_t body_len)
{
    return (size_t)snprintf(head, ENTRY_HEAD_BYTES,
                            "Content-Type: application/problem+json\r\n"
                            "Content-Length: %zu\r\n\r\n",
                            body_len);
}

/* What cannot stand in the line is left out of it. */
static void format_clock(const char *run_id, char clock[ENTRY_CLOCK_BYTES + 1])
{
    size_t len = 0;

    for (; *run_id != '\0' && len < ENTRY_CLOCK_BYTES; run_id++)
        if (*run_id > ' ' && *run_id < 0x7f)
            clock[len++] = *run_id;
    memset(clock + len, '-', ENTRY_CLOCK_BYTES - len);
    clock[ENTRY_CLOCK_BYTES] = '\0';
}

/* A body in the form in which it is stored. */
struct stored_body {
    const struct coding *coding; /* NULL: as it is */
    const char *bytes;
    size_t len;
    char hash[HASH_DIGITS + 1];
    struct buf coded;
};

static bool may_be_coded(const struct entry_facts *facts, size_t body_len)
{
    return facts->coding != NULL && facts->status == 200 && body_len > 0 &&
           body_len >= facts->coding_from_bytes && body_len <= ENTRY_MAX_DECODED_BYTES;
}

static void choose_form(struct stored_body *stored, const struct entry_facts *facts,
                        const char *body, size_t body_len, const char *plain_hash)
{
    size_t limit = body_len - body_len / 10;

    *stored = (struct stored_body){.bytes = body, .len = body_len};
    memcpy(stored->hash, plain_hash, sizeof stored->hash);
    if (!may_be_coded(facts, body_len))
        return;
    buf_init(&stored->coded, NULL, 0);
    if (!facts->coding->code(&stored->coded, body, body_len, limit))
        return;
    stored->coding = facts->coding;
    stored->bytes = stored->coded.data;
    stored->len = stored->coded.len;
    format_hash(stored->bytes, stored->len, stored->hash);
}

/* What comes before the body, but for the tags: the line, */
static void format_line(char line[ENTRY_PREFIX_BYTES + 1], const struct entry_facts *facts,
                        const struct stored_body *stored, const char *plain_hash, size_t plain_len,
                        size_t head_len)
{
    char clock[ENTRY_CLOCK_BYTES + 1];

    format_clock(facts->clock, clock);
    snprintf(line, ENTRY_PREFIX_BYTES + 1,
             "lw%d %0*" PRId64 " %0*" PRId64 " %s %0*d %-*s %0*" PRIx64
             " %s %s %0*zu %0*zu %0*zu %0*zu\n",
             ENTRY_VERSION, TIME_DIGITS, within_digits(facts->snapshot_us), TIME_DIGITS,
             within_digits(facts->arrival_us), clock, STATUS_DIGITS, facts->status,
             CODING_NAME_BYTES, stored->coding != NULL ? stored->coding->name : plain_name,
             KEY_DIGITS, facts->key, plain_hash, stored->hash, TAGS_DIGITS, strlen(facts->tags),
             HEAD_DIGITS, head_len, BODY_DIGITS, stored->len, BODY_DIGITS, plain_len);
}

/* and the header lines. */
static size_t format_lines(char head[ENTRY_HEAD_BYTES], const struct entry_facts *facts,
                           const struct stored_body *stored)
{
    char etag[ENTRY_ETAG_BYTES + 1];

    if (facts->status != 200)
        return format_problem_head(head, stored->len);
    quote(stored->hash, etag);
    return format_head(head, stored->coding, facts->varies, etag, stored->len);
}

void entry_encode(struct buf *out, const struct entry_facts *facts, const char *body,
                  size_t body_len)
{
    char plain_hash[HASH_DIGITS + 1], line[ENTRY_PREFIX_BYTES + 1], head[ENTRY_HEAD_BYTES];
    size_t tags_len = strlen(facts->tags);
    struct stored_body stored;

    assert(is_known(facts->status));
    assert(body_len <= ENTRY_MAX_BODY_BYTES && tags_len <= ENTRY_MAX_TAGS_BYTES);
    format_hash(body, body_len, plain_hash);
    choose_form(&stored, facts, body, body_len, plain_hash);
    size_t head_len = format_lines(head, facts, &stored);
    format_line(line, facts, &stored, plain_hash, body_len, head_len);
    buf_append(out, line, ENTRY_PREFIX_BYTES);
    buf_append(out, facts->tags, tags_len);
    buf_append(out, head, head_len);
    buf_append(out, stored.bytes, stored.len);
    talloc_free(stored.coded.data);
}

char *entry_encode_around(char *body, size_t body_len, size_t room, const struct entry_hash *hash,
                          const struct entry_facts *facts)
{
    struct stored_body stored = {.bytes = body, .len = body_len};
    char line[ENTRY_PREFIX_BYTES + 1], head[ENTRY_HEAD_BYTES];
    size_t tags_len = strlen(facts->tags);

    assert(is_known(facts->status));
    assert(body_len <= ENTRY_MAX_BODY_BYTES && tags_len <= ENTRY_MAX_TAGS_BYTES);
    if (may_be_coded(facts, body_len))
        return NULL;
    print_hash(hash, stored.hash);
    size_t head_len = format_lines(head, facts, &stored);
    if (room < ENTRY_PREFIX_BYTES + tags_len + head_len)
        return NULL;
    format_line(line, facts, &stored, stored.hash, body_len, head_len);
    memcpy(body - head_len, head, head_len);
    memcpy(body - head_len - tags_len, facts->tags, tags_len);
    char *entry = body - head_len - tags_len - ENTRY_PREFIX_BYTES;
    return memcpy(entry, line, ENTRY_PREFIX_BYTES);
}

/* ---- Decoding */

/* The next piece of the prefix. Each hit reads one: what is wrong is gathered, and looked at once.
 */
struct reader {
    const char *at;
    unsigned damage;
};

static int64_t read_digits(struct reader *reader, int digits)
{
    const char *at = reader->at, *end = at + digits;
    unsigned damage = 0;
    uint64_t value = 0;

    for (; at < end; at++) {
        unsigned digit = (unsigned char)*at - (unsigned)'0';
        damage |= digit > 9;
        value = value * 10 + digit;
    }
    reader->at = end;
    reader->damage |= damage;
    return (int64_t)value;
}

static void read_char(struct reader *reader, char expected)
{
    reader->damage |= *reader->at++ != expected;
}

static const char *read_bytes(struct reader *reader, size_t len)
{
    const char *bytes = reader->at;

    reader->at += len;
    return bytes;
}

static void format_key(uint64_t key, char digits[KEY_DIGITS])
{
    static const char hex[] = "0123456789abcdef";

    for (int i = KEY_DIGITS - 1; i >= 0; i--, key >>= 4)
        digits[i] = hex[key & 0xf];
}

static void read_key(struct reader *reader, uint64_t key)
{
    char digits[KEY_DIGITS];

    format_key(key, digits);
    reader->damage |= memcmp(read_bytes(reader, KEY_DIGITS), digits, KEY_DIGITS) != 0;
}

static void read_coding(struct reader *reader, const struct coding **coding)
{
    const char *name = read_bytes(reader, CODING_NAME_BYTES);
    size_t len = CODING_NAME_BYTES;

    *coding = NULL;
    if (memcmp(name, plain_name, CODING_NAME_BYTES) == 0)
        return;
    while (len > 0 && name[len - 1] == ' ')
        len--;
    *coding = coding_of(name, len);
    reader->damage |= *coding == NULL;
}

/* Whether `head` ends as header lines do, so that the body cannot become one. */
static bool ends_with_empty_line(const char *head, size_t len)
{
    return len >= 4 && memcmp(head + len - 4, "\r\n\r\n", 4) == 0;
}

/* Whether a body of this length can be what its coding says, so that room for it may be made. */
static bool has_plausible_lengths(const struct cache_entry *entry)
{
    if (entry->coding == NULL)
        return entry->plain_len == entry->body_len;
    return entry->status == 200 && entry->plain_len <= ENTRY_MAX_DECODED_BYTES &&
           entry->plain_len / entry->coding->max_ratio <= entry->body_len;
}

static bool has_whole_tags(const struct cache_entry *entry)
{
    return entry->tags_len == 0 || entry->tags[entry->tags_len - 1] == '\n';
}

/* A space and what follows it. */
static int64_t read_field(struct reader *reader, int digits)
{
    read_char(reader, ' ');
    return read_digits(reader, digits);
}

static void read_prefix(struct reader *reader, uint64_t key, struct cache_entry *entry)
{
    read_char(reader, 'l');
    read_char(reader, 'w');
    read_char(reader, '0' + ENTRY_VERSION);
    entry->snapshot_us = read_field(reader, TIME_DIGITS);
    read_char(reader, ' ');
    entry->arrival = read_bytes(reader, TIME_DIGITS);
    read_char(reader, ' ');
    entry->clock = read_bytes(reader, ENTRY_CLOCK_BYTES);
    entry->status = (int)read_field(reader, STATUS_DIGITS);
    read_char(reader, ' ');
    read_coding(reader, &entry->coding);
    read_char(reader, ' ');
    read_key(reader, key);
    read_char(reader, ' ');
    entry->plain_hash = read_bytes(reader, HASH_DIGITS);
    read_char(reader, ' ');
    entry->hash = read_bytes(reader, HASH_DIGITS);
    entry->tags_len = (size_t)read_field(reader, TAGS_DIGITS);
    entry->head_len = (size_t)read_field(reader, HEAD_DIGITS);
    entry->body_len = (size_t)read_field(reader, BODY_DIGITS);
    entry->plain_len = (size_t)read_field(reader, BODY_DIGITS);
    read_char(reader, '\n');
}

int entry_decode(const char *bytes, size_t len, uint64_t key, struct cache_entry *entry)
{
    struct reader reader = {.at = bytes};

    if (len < ENTRY_PREFIX_BYTES)
        return -1;
    read_prefix(&reader, key, entry);
    if (reader.damage != 0 || !is_known(entry->status))
        return -1;
    if (len - ENTRY_PREFIX_BYTES != entry->tags_len + entry->head_len + entry->body_len)
        return -1;
    entry->tags = reader.at;
    entry->head = entry->tags + entry->tags_len;
    entry->body = entry->head + entry->head_len;
    return has_plausible_lengths(entry) && has_whole_tags(entry) &&
                   ends_with_empty_line(entry->head, entry->head_len)
               ? 0
               : -1;
}

int64_t entry_arrival_us(const struct cache_entry *entry)
{
    struct reader reader = {.at = entry->arrival};
    int64_t arrival_us = read_digits(&reader, TIME_DIGITS);

    return reader.damage == 0 ? arrival_us : 0;
}

static bool is_hash(const char *hash)
{
    for (int i = 0; i < HASH_DIGITS; i++)
        if (!((hash[i] >= '0' && hash[i] <= '9') || (hash[i] >= 'a' && hash[i] <= 'f')))
            return false;
    return true;
}

void entry_etag(const struct cache_entry *entry, bool plain, char etag[ENTRY_ETAG_BYTES + 1])
{
    const char *hash = plain ? entry->plain_hash : entry->hash;

    etag[0] = '\0';
    if (entry->status == 200 && is_hash(hash))
        quote(hash, etag);
}

void entry_etag_of(const char *bytes, size_t len, char etag[ENTRY_ETAG_BYTES + 1])
{
    char hash[HASH_DIGITS + 1];

    format_hash(bytes, len, hash);
    quote(hash, etag);
}
