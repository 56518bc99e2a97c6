/* SPDX-License-Identifier: BSD-2-Clause */
/* A Redis server that does what a test says, on the test's own loop. */
#ifndef LEEWAY_TESTS_REDIS_SCRIPT_H
#define LEEWAY_TESTS_REDIS_SCRIPT_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <talloc.h>

struct script;

/* Listens at a Unix socket; `address` is as in the configuration. It greets as Redis does and
   answers everything else with +OK. */
struct script *script_new(TALLOC_CTX *ctx, struct ev_loop *loop);
const char *script_address(const struct script *script);

#define SCRIPT_CLOSES  "close"
#define SCRIPT_IS_MUTE "" /* the reply comes later, by script_say, or never */

/* What a command is answered from now on, as it goes over the wire, SCRIPT_CLOSES at its end if the
   connection is closed then; NULL: as at first. */
void script_answer(struct script *script, const char *command, const char *reply);

/* To the connection over which `command` came last. */
void script_say(struct script *script, const char *command, const char *bytes, size_t len);

/* How often the command came. */
int script_count(const struct script *script, const char *command);

/* All commands, each behind a space and in brackets: " [GET a]". */
const char *script_heard(const struct script *script);
void script_forget(struct script *script);

/* How many connections there are, and how many calls of recv() brought something. */
int script_connections(const struct script *script);
int script_reads(const struct script *script);

void script_close_all(struct script *script);
void script_stop_listening(struct script *script);
void script_listen(struct script *script);

/* It reads nothing from now on, or again. */
void script_pause(struct script *script, bool paused);

#endif
