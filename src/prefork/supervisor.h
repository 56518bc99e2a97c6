/* SPDX-License-Identifier: BSD-2-Clause */
/* A parent that keeps a number of children alive: forks them, replaces those
   that die (at once, or with a back-off that doubles from 100 ms to 10 s while
   none has yet said that it works), kills and replaces those whose loop stands
   still, replaces them one by one on a reload, and stops them. The parent does
   nothing else and must not die of a child. */
#ifndef LEEWAY_PREFORK_SUPERVISOR_H
#define LEEWAY_PREFORK_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#include "prefork/pulse.h"

/* A child's view of its parent. */
struct child_link {
    int index;     /* 0 .. count-1, stable over replacement */
    int64_t count; /* of children wanted when this one was started */
    int parent_fd; /* readable (end of file) once the parent has died */
    int ready_fd;
    struct pulse *pulse; /* which the child shows */
    bool replaces;       /* another does its work until this one is ready */
};

/* To be called by a child once it can do its work; ends the back-off. */
void child_ready(struct child_link *link);

struct supervisor_program {
    const char *role;             /* "worker": for log lines */
    int64_t (*count)(void *data); /* children wanted, after each reload */
    int64_t (*drain_timeout_ms)(void *data);
    /* Runs in the child, returns its exit status. Signal dispositions are the
       defaults (SIGPIPE ignored) and nothing is blocked; TERM means drain. */
    int (*child)(void *data, struct child_link *link);
    /* SIGHUP: 0, or -1 if the new configuration is wrong (it has been logged) and
       the old one stays. */
    int (*reload)(void *data);
    /* NULL, or called once when a stop begins, before the children hear of it. */
    void (*stopping)(void *data);
    void *data;
};

/* Blocks until TERM or INT and then until all children are gone: TERM to each,
   KILL to those left 1 s after drain_timeout. Returns the exit status. A reload
   starts each child's successor, waits until it is ready (or failed: the reload is
   abandoned with a log line and goes on being retried by the back-off), and then
   sends TERM to the predecessor. A child whose pulse stood still at PULSE_LOOKS looks gets ABRT,
   and KILL a second later, unless a debugger holds it. The service manager's watchdog is told while
   the parent turns. */
int supervisor_run(const struct supervisor_program *program);

#endif
