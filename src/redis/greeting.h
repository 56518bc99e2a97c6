/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said before a connection is used, in at most two round trips: who we are (HELLO, or AUTH
   and CLIENT SETNAME where that is not known), the database, and of a server that is to be served
   from its clock and its run id. A sequence of steps that knows no socket. */
#ifndef LEEWAY_REDIS_GREETING_H
#define LEEWAY_REDIS_GREETING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "config/settings.h"
#include "redis/clock.h"
#include "redis/reply.h"

struct redis_greeting_options {
    const struct redis_settings *settings; /* borrowed */
    const char *client_name;               /* borrowed */
    const char
        *step_key; /* where steps of the clock are told; NULL: clock and run id do not matter */
};

enum { REDIS_RUN_ID_BYTES = 64 };

/* What the server answered; "" and 0 for what it did not. */
struct redis_greeting_result {
    char name[32];
    char version[32];
    char mode[16];
    char role[16];
    char run_id[REDIS_RUN_ID_BYTES];
    int64_t sent_us; /* TIME, as for redis_clock_measure */
    int64_t received_us;
    int64_t redis_us;
    int64_t lead_us;
    struct redis_clock_step step; /* of the clock, told by others; until_us 0: none */
};

enum redis_greeting_step {
    GREETING_HELLO,
    GREETING_AUTH,
    GREETING_NAME,
    GREETING_SELECT,
    GREETING_CLOCK_STEP,
    GREETING_TIME,
    GREETING_INFO,
    GREETING_STEPS, /* how many */
};

enum redis_greeting_verdict {
    GREETING_WAITS,  /* for the other replies */
    GREETING_SPEAKS, /* redis_greeting_write again */
    GREETING_DONE,
    GREETING_FAILED,
};

/* Kept while its owner connects again and again; all zeros at first. */
struct redis_greeting {
    struct redis_greeting_options options;
    bool hello_unknown; /* to the server when it was asked last */
    bool is_done;       /* all of it: a server that has no room for us refuses HELLO, and closes */
    bool introduced;    /* by HELLO */
    enum redis_greeting_step owed[GREETING_STEPS];
    size_t n_owed;
    size_t n_taken;
    bool is_last; /* nothing has to be said after these */
    struct redis_greeting_result result;
    char problem[256]; /* also why HELLO was refused, if the connection ends before the others */
};

/* For a new connection. */
void redis_greeting_begin(struct redis_greeting *greeting,
                          const struct redis_greeting_options *options);

/* Appends what is to be said next, which is about to be sent. Returns what redis_greeting_take
   does: there may be nothing to say. */
enum redis_greeting_verdict redis_greeting_write(struct redis_greeting *greeting, struct buf *out);

/* Takes the next reply in. After GREETING_FAILED `problem` says why. */
enum redis_greeting_verdict redis_greeting_take(struct redis_greeting *greeting,
                                                const struct redis_reply *reply);

#endif
