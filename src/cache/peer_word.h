/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process says of itself to those of other hosts, and what follows from what they say.
   Pure. */
#ifndef LEEWAY_CACHE_PEER_WORD_H
#define LEEWAY_CACHE_PEER_WORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is wrong with a process, as bits. */
enum peer_code {
    PEER_POSTGRES = 1,  /* it cannot reach Postgres */
    PEER_REDIS = 2,     /* the Redis that it reaches takes no writes */
    PEER_REFRESHER = 4, /* the refreshers of its host have died and are not back */
    PEER_IDENTITY = 8,  /* its database is not verified */
    PEER_DRAINING = 16, /* it stops */
    PEER_CODES = 31,
    PEER_N_CODES = 5,
};

/* "postgres", ...: one bit. */
const char *peer_code_name(unsigned code);

enum { PEER_TEXT_BYTES = 80, PEER_WORD_BYTES = 320 };

struct peer_word {
    bool is_worker;
    char host[PEER_TEXT_BYTES];    /* with what tells instances on it apart; no blanks */
    char version[PEER_TEXT_BYTES]; /* of the program */
    unsigned codes;
    unsigned doubts;  /* codes that it may have, too, which it does not know */
    int64_t heard_ms; /* since Postgres has answered it; of who has not said so: 0 */
};

/* "1 ROLE HOST VERSION CODES", CODES joined by commas or "-"; among them are doubts, with a '?',
   and "heard=MS". Its length; it always fits. */
size_t peer_word_write(const struct peer_word *word, char out[PEER_WORD_BYTES]);

/* 0, or -1: it is not understood. Codes of later versions are left out. */
int peer_word_read(const char *text, size_t len, struct peer_word *word)
    __attribute__((warn_unused_result));

/* A name made fit for a word and a key: letters, digits, '.', '_' and '-' stay. */
void peer_text_clean(char *text);

/* Which of the codes some worker of another host is free of, and knows so: only one that could be
   sent requests instead counts, neither unverified nor draining. */
unsigned peer_free_of(const struct peer_word *mine, const struct peer_word *theirs);

#endif
