/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats logfmt lines, and limits those that come again and again. */
#include "config.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log_limit.h"
#include "base/log_sink.h"

#define LINE_BYTES 2048

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error",
};

/* The same as the journal wants them, sd-daemon(3). */
static const char *const journal_levels[] = {
    [LOG_LEVEL_DEBUG] = "<7>",
    [LOG_LEVEL_INFO] = "<6>",
    [LOG_LEVEL_WARN] = "<4>",
    [LOG_LEVEL_ERROR] = "<3>",
};

static struct log_sink sink = {.fd = STDERR_FILENO, .program = "", .is_stream = true, .end_fd = -1};
static struct log_limit *limit; /* of what comes again and again; made when it is needed */
static uint64_t untold;         /* lines that were dropped and not told of */
static uint64_t uncounted;      /* and not taken by log_take_dropped */

struct line {
    char text[LINE_BYTES];
    size_t len;
};

void log_to_stderr(const char *program)
{
    log_sink_close(&sink);
    log_sink_stderr(&sink, program);
}

int log_open(const char *program, const char *destination, char *error, size_t error_size)
{
    struct log_sink opened;

    if (log_sink_open(&opened, program, destination, error, error_size) == -1)
        return -1;
    log_sink_close(&sink);
    sink = opened;
    return 0;
}

bool log_may_open(const char *destination, char *error, size_t error_size)
{
    struct log_sink opened;

    if (log_sink_open(&opened, "", destination, error, error_size) == -1)
        return false;
    log_sink_close(&opened);
    return true;
}

const char *log_mark(enum log_level level)
{
    return sink.is_journal ? journal_levels[level] : "";
}

static void put_char(struct line *line, char c)
{
    if (line->len < sizeof line->text - 1)
        line->text[line->len++] = c;
}

static void put_line(struct line *line, const struct line *more)
{
    for (size_t i = 0; i < more->len; i++)
        put_char(line, more->text[i]);
}

static void put_text(struct line *line, const char *text)
{
    while (*text != '\0')
        put_char(line, *text++);
}

static bool is_plain(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return false;
    }
    return true;
}

static void put_value(struct line *line, const char *text)
{
    if (is_plain(text)) {
        put_text(line, text);
        return;
    }
    put_char(line, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            put_char(line, '\\');
            put_char(line, (char)c);
        } else if (c == '\n') {
            put_text(line, "\\n");
        } else if (c < ' ' || c == 0x7f) {
            put_char(line, ' ');
        } else {
            put_char(line, (char)c);
        }
    }
    put_char(line, '"');
}

static void put_field(struct line *line, const struct log_field *field)
{
    char number[24];

    put_char(line, ' ');
    put_text(line, field->key);
    put_char(line, '=');
    if (field->text != NULL) {
        put_value(line, field->text);
    } else {
        snprintf(number, sizeof number, "%" PRId64, field->number);
        put_text(line, number);
    }
}

/* RFC 3339, in UTC. */
static void put_time(struct line *line)
{
    struct timespec now;
    struct tm parts;
    char text[64];

    clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &parts) == NULL)
        return;
    size_t len = strftime(text, sizeof text, "time=%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + len, sizeof text - len, ".%03ldZ ", now.tv_nsec / 1000000);
    put_text(line, text);
}

static void put_head(struct line *line, enum log_level level)
{
    char pid[24];

    if (sink.kind != SINK_SYSLOG) {
        put_text(line, log_mark(level));
        put_text(line, level_names[level]);
        put_char(line, ' ');
    }
    if (!sink.adds_time)
        put_time(line);
    if (sink.kind != SINK_SYSLOG) {
        snprintf(pid, sizeof pid, "pid=%ld ", (long)getpid());
        put_text(line, pid);
    }
}

static void put_fields(struct line *line, const char *message, const struct log_field *fields)
{
    put_text(line, "msg=");
    put_value(line, message);
    for (; fields->key != NULL; fields++)
        put_field(line, fields);
}

/* Once there is room again, it is said how many lines had none. */
static void tell_dropped(int64_t now_us)
{
    const struct log_field fields[] = {log_number("dropped", (int64_t)untold), {NULL, NULL, 0}};
    struct line line = {.len = 0};

    put_head(&line, LOG_LEVEL_WARN);
    put_fields(&line, "whoever reads the log does not take the lines", fields);
    if (log_sink_write(&sink, LOG_LEVEL_WARN, line.text, line.len, now_us))
        untold = 0;
}

/* `fields` is what put_fields has made. */
static void write_line(enum log_level level, const struct line *fields, int64_t suppressed)
{
    const struct log_field last = log_number("suppressed", suppressed);
    struct line line = {.len = 0};
    int64_t now_us = clock_monotonic_us();

    put_head(&line, level);
    put_line(&line, fields);
    if (suppressed > 0)
        put_field(&line, &last);
    if (untold > 0)
        tell_dropped(now_us);
    if (untold == 0 && log_sink_write(&sink, level, line.text, line.len, now_us))
        return;
    untold++;
    uncounted++;
}

/* Of its kind, or of the very same text if `variant` is its hash. */
static void write_limited(enum log_level level, const char *message, const struct log_field *fields,
                          bool is_variant)
{
    struct line line = {.len = 0};
    struct log_kind kind = {.level = level, .message = message, .key = fields[0].key};
    int64_t suppressed;

    put_fields(&line, message, fields);
    kind.text = fields[0].key != NULL && fields[0].text != NULL ? fields[0].text : "";
    if (is_variant)
        kind.variant = XXH3_64bits(line.text, line.len);
    if (limit == NULL)
        limit = log_limit_new(NULL);
    if (log_limit_allows(limit, &kind, clock_monotonic_us(), &suppressed))
        write_line(level, &line, suppressed);
}

void log_fields(enum log_level level, const char *message, const struct log_field *fields)
{
    write_limited(level, message, fields, true);
}

void log_message(enum log_level level, const char *message)
{
    static const struct log_field none = {NULL, NULL, 0};

    log_fields(level, message, &none);
}

void log_fields_limited(enum log_level level, const char *message, const struct log_field *fields)
{
    write_limited(level, message, fields, false);
}

void log_tell_suppressed(bool ending)
{
    int64_t now_us = clock_monotonic_us();
    struct log_kind kind;
    int64_t suppressed;

    if (untold > 0)
        tell_dropped(now_us);
    if (ending)
        now_us += (int64_t)LOG_LIMIT_BURST * LOG_LIMIT_INTERVAL_US;
    while (limit != NULL && log_limit_take_suppressed(limit, now_us, &kind, &suppressed) == 1) {
        bool named = kind.message != NULL;
        bool has_subject = named && kind.key != NULL && kind.text[0] != '\0';
        const struct log_field fields[] = {log_text("of", named ? kind.message : "others"),
                                           log_text(has_subject ? kind.key : NULL, kind.text),
                                           {NULL, NULL, 0}};
        struct line line = {.len = 0};
        put_fields(&line, "log lines were left out", fields);
        write_line((enum log_level)kind.level, &line, suppressed);
    }
}

void log_forget(void)
{
    TALLOC_FREE(limit);
    untold = 0;
}

uint64_t log_take_dropped(void)
{
    uint64_t taken = uncounted;

    uncounted = 0;
    return taken;
}
