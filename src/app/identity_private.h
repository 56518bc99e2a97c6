/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of an identity, for the files that make one up: identity.c has what is verified, and
   each of the others one part of how it comes to be. */
#ifndef LEEWAY_APP_IDENTITY_PRIVATE_H
#define LEEWAY_APP_IDENTITY_PRIVATE_H

#include "app/identity.h"

/* The generation of no session: all are outdated. */
#define NO_GENERATION UINT64_MAX

enum identity_state {
    IDENTITY_UNVERIFIED, /* nobody has said anything, or it cannot be told */
    IDENTITY_VERIFIED,
    IDENTITY_REFUSED, /* it is another database */
};

enum question_state {
    QUESTION_READS,     /* the note */
    QUESTION_CLAIMS,    /* there is none: it makes it */
    QUESTION_COMPLETES, /* one that lacks something */
};

struct place_question {
    struct identity *identity;
    enum question_state state;
    struct cache_request *request; /* NULL: none */
    ev_timer limit;
    struct identity_note found; /* what the server says; of a look: what this host knows */
    struct identity_note noted; /* QUESTION_COMPLETES */
    bool lacks_accepts;         /* likewise: it is of no use if it cannot be completed */
    bool is_look;               /* nobody is told */
    bool is_first;              /* it decides whether what runtime_dir has kept is used */
    struct place_asker asker;
    const char *user;
    const char *search_path;
    bool recurring;
};

struct renewal {
    identity_renewed_fn *fn; /* NULL: none is under way */
    void *data;
    int64_t until_us;
    ev_timer check;
};

struct identity {
    struct ev_loop *loop;
    const struct application *app;
    struct cache *cache;
    struct place_question *look; /* NULL: none is under way */
    struct renewal renewal;
    struct postgres *postgres;
    struct postgres_judge judge;
    bool speaks;
    enum identity_state state;
    char problem[256];
    bool complained;      /* of it, in the log */
    bool refused_by_note; /* and not for what a server says */
    bool overruled; /* the last note that was read is of something else than what this host has
                       seen: it makes no note, and its record says nothing without one */
    bool judged;    /* a session has come to be */
    /* What a session of this host has verified, now or before; `has_record` false: none has. */
    struct identity_record record;
    bool has_record;
    bool is_kept; /* the file says the same */
    bool keeping_failed;
    uint64_t generation;                       /* 0: none yet */
    int64_t switched_us;                       /* when a session changed it; 0: none has */
    char (*fingerprints)[FINGERPRINT_HEX + 1]; /* by route index */
    unsigned ticks;
    int64_t renew_at_us; /* not before */
    unsigned renewals;   /* in vain, in a row */
    ev_timer retry;      /* while unverified */
};

/* ---- identity.c */

/* Every change of state goes through here. `problem` "": it is verified. */
void identity_enter(struct identity *identity, enum identity_state state, const char *problem);
void identity_log_state(struct identity *identity);

/* What the record says is so from now on. */
void identity_use_record(struct identity *identity);

/* What is not kept yet is, at the most once for each look, however often it has changed; and what
   was, and somebody has taken the file away. */
void identity_tend_record(struct identity *identity);

/* Redis can be asked which database is meant, or this host knows. */
bool identity_can_be_judged(const struct identity *identity);

/* ---- identity_verdict.c: what a server says, compared with what is known */

/* What a session has asked; with PLACE_RIGHT, *generation is its answers'. `noted` NULL: the cache
   cannot say. */
enum place_verdict identity_decide(struct identity *identity, const struct place_question *question,
                                   const struct identity_note *noted, uint64_t *generation);

/* What is noted now, compared with what this host knows. One that was lost, or noted anew by a host
   that knew of fewer accepts, has been mended. */
void identity_take_look(struct identity *identity, const struct identity_note *noted);

/* A note that is lost is made again by who agreed with it, or by who has seen nothing else. */
bool identity_may_claim(const struct identity *identity, const struct identity_note *mine);

/* It is not verified, for this reason; PLACE_UNKNOWN. */
enum place_verdict identity_cannot_tell(struct identity *identity, const char *problem);

/* ---- identity_question.c: what is asked of the note in Redis */

/* Makes identity->judge. */
void identity_init_judge(struct identity *identity);

/* One at a time; not without a record or a cache. */
void identity_look_at_note(struct identity *identity);

/* ---- identity_await.c: until a session has been judged */

/* For identity->renewal.check. */
void identity_on_renewal_check(struct ev_loop *loop, ev_timer *timer, int events);

#endif
