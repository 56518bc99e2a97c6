/* SPDX-License-Identifier: BSD-2-Clause */
/* leeway-worker --ready and --health: a running pool is asked at its socket, for those who cannot
   speak FastCGI. */
#ifndef LEEWAY_APP_ASK_H
#define LEEWAY_APP_ASK_H

enum question { ASK_NOTHING, ASK_READY, ASK_HEALTH };

/* What there is to be said is the exit status, and an answer's body goes to standard output. */
enum ask_exit {
    ASK_WELL = 0,       /* 200 */
    ASK_NOT_WELL = 1,   /* another answer */
    ASK_UNANSWERED = 2, /* a wrong configuration or address, or no answer of leeway's within five
                           seconds */
};

/* `file`: the configuration, which says what path is asked for; `address` as of -s, or NULL. It may
   end the process, with ASK_UNANSWERED. */
enum ask_exit ask_pool(const char *file, const char *address, enum question question);

#endif
