/* SPDX-License-Identifier: BSD-2-Clause */
/* The stored response (docs/redis.md): one line of fixed width, the tags, then the static header
   lines, an empty line and the body, as they go out. */
#ifndef LEEWAY_CACHE_ENTRY_H
#define LEEWAY_CACHE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "coding/coding.h"

enum {
    ENTRY_VERSION = 2,
    ENTRY_ETAG_BYTES = 34, /* 32 hexadecimal digits in double quotes */
    ENTRY_PREFIX_BYTES = 209,
    ENTRY_SNAPSHOT_AT = 4, /* offset of the snapshot's 16 digits, which sort as text */
    ENTRY_SNAPSHOT_DIGITS = 16,
    ENTRY_CLOCK_BYTES = 40,
    ENTRY_HEAD_BYTES = 256, /* header lines and the empty line, at most */
    ENTRY_MAX_TAGS_BYTES = 999999,
    ENTRY_MAX_BODY_BYTES = 999999999,
    ENTRY_MAX_DECODED_BYTES = 8 * 1024 * 1024, /* of a body that is stored in a coding: a process
                                                 does nothing else while it makes or reads it */
};

/* What an entry is made of, beside its body. */
struct entry_facts {
    int64_t snapshot_us;         /* Redis's clock, at the latest when the query was sent */
    int64_t arrival_us;          /* the same clock: when it was sent to be stored */
    const char *clock;           /* whose clock that is: the server's run id; "": not known */
    int status;                  /* 200, 404 or 410 */
    uint64_t key;                /* entry_key() */
    const char *tags;            /* each ended by a line feed; "": none */
    bool varies;                 /* another form of it may be sent to another client */
    const struct coding *coding; /* that of its context, for a 200; NULL: none */
    size_t coding_from_bytes;    /* a shorter body is stored as it is */
};

struct cache_entry {
    int64_t snapshot_us;
    const char *arrival; /* see entry_arrival_us(); borrowed like all below */
    const char *clock;   /* ENTRY_CLOCK_BYTES, padded with '-' */
    int status;
    const struct coding *coding; /* of the body; NULL: it is stored as it is */
    const char *hash;            /* the tags' digits: of the body as stored, */
    const char *plain_hash;      /* and without a coding */
    const char *tags;
    size_t tags_len;
    const char *head; /* header lines of the body as stored, each ended by CR LF, then CR LF */
    size_t head_len;
    const char *body; /* behind `head` */
    size_t body_len;
    size_t plain_len; /* of the body without a coding */
};

/* What an entry says of the key that it belongs to, so that the reply to another question is not
   taken for it: a hash of the key's base (cache/keys.h). */
uint64_t entry_key(const char *base);

/* Appends the entry of `body` to `out`. Its tags are made from the body in each form, the type from
   the status (that of a 404 or 410 is a problem document). It is stored in the coding if that saves
   a tenth, and the body has ENTRY_MAX_DECODED_BYTES at most. The body has at most
   ENTRY_MAX_BODY_BYTES; times that 16 digits cannot hold are brought to the nearest. */
void entry_encode(struct buf *out, const struct entry_facts *facts, const char *body,
                  size_t body_len);

/* A body's hash, from which its tag is made. */
struct entry_hash {
    uint64_t high, low; /* XXH3_128bits */
};

/* The same of a body that lies in memory with `room` free bytes before it, and is not copied:
   returns where the entry begins, which ends with the body. NULL: it may have to be stored in a
   coding, or what comes before it does not fit. */
char *entry_encode_around(char *body, size_t body_len, size_t room, const struct entry_hash *hash,
                          const struct entry_facts *facts);

/* 0, or -1: not an entry of this version, of another key, in a coding that is not known here, or
   damaged. The body is neither hashed nor decoded. Slices point into `bytes`. */
int entry_decode(const char *bytes, size_t len, uint64_t key, struct cache_entry *entry)
    __attribute__((warn_unused_result));

/* When it was sent to be stored; 0: damaged. No hit needs it, and so it is not read with the rest.
 */
int64_t entry_arrival_us(const struct cache_entry *entry);

/* The strong tag of the form that is stored, or of that without a coding (`plain`), quoted; "" for
   a 404 or 410, which have none, and for digits that are none. */
void entry_etag(const struct cache_entry *entry, bool plain, char etag[ENTRY_ETAG_BYTES + 1]);

/* The strong tag of a body in the form that these bytes are. */
void entry_etag_of(const char *bytes, size_t len, char etag[ENTRY_ETAG_BYTES + 1]);

/* The header lines of a form of a 200 that is not the one stored: in `coding`, NULL for none. They
   say that it depends on Accept-Encoding. Returns their length. */
size_t entry_head(char head[ENTRY_HEAD_BYTES], const struct coding *coding, const char *etag,
                  size_t body_len);

#endif
