/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats logfmt lines and hands them to standard error, where the journal may listen, or syslog.
 */
#include "config.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_limit.h"

#define LINE_BYTES 2048

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error",
};

static const int syslog_levels[] = {
    [LOG_LEVEL_DEBUG] = LOG_DEBUG,
    [LOG_LEVEL_INFO] = LOG_INFO,
    [LOG_LEVEL_WARN] = LOG_WARNING,
    [LOG_LEVEL_ERROR] = LOG_ERR,
};

/* The same as the journal wants them, sd-daemon(3). */
static const char *const journal_levels[] = {
    [LOG_LEVEL_DEBUG] = "<7>",
    [LOG_LEVEL_INFO] = "<6>",
    [LOG_LEVEL_WARN] = "<4>",
    [LOG_LEVEL_ERROR] = "<3>",
};

static enum log_target current_target = LOG_TO_STDERR;
static bool journal_listens;
static struct log_limit *limit; /* of what clients can cause; made when it is needed */

struct line {
    char text[LINE_BYTES];
    size_t len;
};

/* The variable is inherited by whoever is started from a service, and standard error may lead
   elsewhere by then. */
static bool leads_to_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat found;
    char ours[48];

    if (stream == NULL || fstat(fd, &found) == -1)
        return false;
    snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)found.st_dev, (uintmax_t)found.st_ino);
    return strcmp(stream, ours) == 0;
}

void log_open(const char *program, enum log_target target)
{
    if (target == LOG_TO_SYSLOG)
        openlog(program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
    current_target = target;
    journal_listens = leads_to_journal(STDERR_FILENO);
}

const char *log_mark(enum log_level level)
{
    return journal_listens ? journal_levels[level] : "";
}

static void put_char(struct line *line, char c)
{
    if (line->len < sizeof line->text - 1)
        line->text[line->len++] = c;
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

static void put_fields(struct line *line, const char *message, const struct log_field *fields,
                       int64_t suppressed)
{
    const struct log_field last = log_number("suppressed", suppressed);

    put_text(line, "msg=");
    put_value(line, message);
    for (; fields->key != NULL; fields++)
        put_field(line, fields);
    if (suppressed > 0)
        put_field(line, &last);
}

static void write_fields(enum log_level level, const char *message, const struct log_field *fields,
                         int64_t suppressed)
{
    struct line line = {.len = 0};
    char pid[24];

    if (current_target == LOG_TO_SYSLOG) {
        put_fields(&line, message, fields, suppressed);
        line.text[line.len] = '\0';
        syslog(syslog_levels[level], "%s", line.text);
        return;
    }
    snprintf(pid, sizeof pid, " pid=%ld ", (long)getpid());
    put_text(&line, log_mark(level));
    put_text(&line, level_names[level]);
    put_text(&line, pid);
    put_fields(&line, message, fields, suppressed);
    line.text[line.len++] = '\n';
    /* nothing can be done about a log that cannot be written */
    ssize_t ignored = write(STDERR_FILENO, line.text, line.len);
    (void)ignored;
}

void log_fields(enum log_level level, const char *message, const struct log_field *fields)
{
    write_fields(level, message, fields, 0);
}

void log_message(enum log_level level, const char *message)
{
    static const struct log_field none = {NULL, NULL, 0};

    log_fields(level, message, &none);
}

void log_fields_limited(enum log_level level, const char *message, const struct log_field *fields)
{
    const struct log_kind kind = {level, message, fields[0].key,
                                  fields[0].text != NULL ? fields[0].text : ""};
    int64_t suppressed;

    if (limit == NULL)
        limit = log_limit_new(NULL);
    if (log_limit_allows(limit, &kind, clock_monotonic_us(), &suppressed))
        write_fields(level, message, fields, suppressed);
}

void log_tell_suppressed(bool ending)
{
    int64_t now_us = clock_monotonic_us();
    struct log_kind kind;
    int64_t suppressed;

    if (ending)
        now_us += (int64_t)LOG_LIMIT_BURST * LOG_LIMIT_INTERVAL_US;
    while (limit != NULL && log_limit_take_suppressed(limit, now_us, &kind, &suppressed) == 1) {
        bool named = kind.message != NULL;
        const struct log_field fields[] = {log_text("of", named ? kind.message : "others"),
                                           log_text(named ? kind.key : NULL, kind.text),
                                           {NULL, NULL, 0}};
        write_fields((enum log_level)kind.level, "log lines were left out", fields, suppressed);
    }
}
