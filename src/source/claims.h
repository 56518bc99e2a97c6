/* SPDX-License-Identifier: BSD-2-Clause */
/* Turns over the processes of a host: which of them wait for a slot and for which route, and when
   each route last got one, in a file that all of them read and write. Hints, without locks: what is
   read half written, or is lost, makes a turn come early or late and nothing worse. Who does not
   renew a claim in time has none. */
#ifndef LEEWAY_SOURCE_CLAIMS_H
#define LEEWAY_SOURCE_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>
#include <talloc.h>

struct claims;

struct claims *claims_new(TALLOC_CTX *ctx);

/* `fd` is the file's from now on, borrowed. Its bytes from 4096 on are used, and locks far beyond
   its end. */
void claims_attach(struct claims *claims, int fd);

/* What others have said by now; the functions below go by it. All times are monotonic. */
void claims_read(struct claims *claims, int64_t now_us);

/* When the route that `key` is a hash of got its last slot; 0: never, or not lately. */
int64_t claims_served_us(const struct claims *claims, uint64_t key);

/* Whether another process waits whose turn is before that of a request for this route which has
   waited since then. */
bool claims_are_before(const struct claims *claims, uint64_t key, int64_t since_us);

/* Somebody waits here, in vain so far. To be renewed every CLAIMS_RENEW_MS. */
void claims_make(struct claims *claims, uint64_t key, int64_t since_us, int64_t now_us);
enum { CLAIMS_RENEW_MS = 5 };

/* Nobody does any more. */
void claims_withdraw(struct claims *claims);

void claims_note_served(struct claims *claims, uint64_t key, int64_t now_us);

#endif
