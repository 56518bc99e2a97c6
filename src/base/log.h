/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines in logfmt, one write(2) a line: "level time=... pid=N msg=... key=value". Where
   standard error is the systemd journal, a priority like "<6>" comes before that, which the journal
   takes off, and there is no time, which the journal adds. To write a line never waits: what is not
   taken is dropped and counted (base/log_sink.h). A line that comes again and again, with the same
   text, is limited (base/log_limit.h). Never pass a parameter value, a key or a password. */
#ifndef LEEWAY_BASE_LOG_H
#define LEEWAY_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

struct log_field {
    const char *key;
    const char *text; /* NULL: the number counts */
    int64_t number;
};

/* Text may be NULL, and then is empty. */
static inline struct log_field log_text(const char *key, const char *text)
{
    return (struct log_field){key, text != NULL ? text : "", 0};
}

static inline struct log_field log_number(const char *key, int64_t number)
{
    return (struct log_field){key, NULL, number};
}

/* To be called first. `program` is borrowed for ever. */
void log_to_stderr(const char *program);

/* From now on lines go to `destination`: "stderr", "syslog" or "file:PATH"; a file is opened anew
   if it is open already. 0, or -1 and a sentence in `error`, and they go where they went. */
int log_open(const char *program, const char *destination, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* Whether log_open() would succeed; else a sentence in `error`. Nothing changes, but that a file is
   made. */
bool log_may_open(const char *destination, char *error, size_t error_size);

/* What a line written to standard error by other means begins with: "<3>" and the like for the
   journal, else nothing. */
const char *log_mark(enum log_level level);

/* `fields` ends with a field whose key is NULL. Text that is not a plain word
   is quoted and escaped; a line is cut at 2 KiB. Safe in a forked child. */
void log_fields(enum log_level level, const char *message, const struct log_field *fields);

/* At least one field: log_event(LOG_LEVEL_INFO, "started", log_number("workers", 8)). */
#define log_event(level, message, ...)                                                             \
    log_fields((level), (message), (const struct log_field[]){__VA_ARGS__, {NULL, NULL, 0}})

/* A line without fields. */
void log_message(enum log_level level, const char *message);

/* As log_event, for what a client can cause as often as it likes. Lines of the same message and
   the same first field, a route for instance, are limited (base/log_limit.h): one that is written
   after others were left out ends with suppressed=N, their number. The first field is a text that
   no client chooses, and `message` a literal. */
#define log_event_limited(level, message, ...)                                                     \
    log_fields_limited((level), (message), (const struct log_field[]){__VA_ARGS__, {NULL, NULL, 0}})
void log_fields_limited(enum log_level level, const char *message, const struct log_field *fields);

/* Says of how many lines were left out of kinds of which no more come, and how many were dropped.
   To be called about once a second, and once with `ending` before the process ends: then also of
   those that were limited just now. */
void log_tell_suppressed(bool ending);

/* In a forked child: what the parent has to tell is not told by the child as well. What
   log_take_dropped() would return stays: the parent takes it off, so that one of them counts it. */
void log_forget(void);

/* How many lines were dropped since the last call. */
uint64_t log_take_dropped(void);

#endif
