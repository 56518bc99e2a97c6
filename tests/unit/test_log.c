/* SPDX-License-Identifier: BSD-2-Clause */
/* Where log lines go and with which priority: standard error, the journal behind it, syslog. */
#include "config.h"

#include "unit.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log.h"

static const struct {
    enum log_level level;
    const char *name;
    const char *mark;
    int priority;
} levels[] = {
    {LOG_LEVEL_DEBUG, "debug", "<7>", LOG_DEBUG},
    {LOG_LEVEL_INFO, "info", "<6>", LOG_INFO},
    {LOG_LEVEL_WARN, "warn", "<4>", LOG_WARNING},
    {LOG_LEVEL_ERROR, "error", "<3>", LOG_ERR},
};

/* What syslog was told last; the linker puts these in its place. */
static int told_priority;
static char told[256];

void __wrap_syslog(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __wrap_syslog(int priority, const char *format, ...)
{
    va_list values;

    told_priority = priority;
    va_start(values, format);
    vsnprintf(told, sizeof told, format, values);
    va_end(values);
}

void __wrap___syslog_chk(int priority, int flag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void __wrap___syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list values;

    (void)flag;
    told_priority = priority;
    va_start(values, format);
    vsnprintf(told, sizeof told, format, values);
    va_end(values);
}

int64_t __wrap_clock_monotonic_us(void);
int64_t __wrap_clock_monotonic_us(void)
{
    return 1000000;
}

/* While it stands in for standard error. */
struct capture {
    FILE *file;
    int saved;
};

static struct capture begin_capture(void)
{
    struct capture capture = {.file = tmpfile(), .saved = dup(STDERR_FILENO)};

    assert_non_null(capture.file);
    assert_int_not_equal(dup2(fileno(capture.file), STDERR_FILENO), -1);
    return capture;
}

static void end_capture(struct capture *capture, char *text, size_t size)
{
    dup2(capture->saved, STDERR_FILENO);
    close(capture->saved);
    rewind(capture->file);
    text[fread(text, 1, size - 1, capture->file)] = '\0';
    fclose(capture->file);
}

/* One line at `level`; `inode_off` makes JOURNAL_STREAM name another file than standard error. */
static void write_line(enum log_level level, int inode_off, char *text, size_t size)
{
    struct capture capture = begin_capture();
    struct stat found;
    char stream[64];

    fstat(STDERR_FILENO, &found);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)found.st_dev,
             (uintmax_t)found.st_ino + (uintmax_t)inode_off);
    setenv("JOURNAL_STREAM", stream, 1);
    log_open("test", LOG_TO_STDERR);
    log_event(level, "it is", log_number("n", 7));
    end_capture(&capture, text, size);
}

static void test_the_journal_gets_priorities(void **state)
{
    char line[256], wanted[256];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        write_line(levels[i].level, 0, line, sizeof line);
        snprintf(wanted, sizeof wanted, "%s%s pid=%ld msg=\"it is\" n=7\n", levels[i].mark,
                 levels[i].name, (long)getpid());
        check(strcmp(line, wanted) == 0, "\"%s\"", line);
    }
}

static void test_another_standard_error_does_not(void **state)
{
    static const char *const streams[] = {NULL, "", "1", ":", "0:0", "18446744073709551616:1"};
    char line[256];

    (void)state;
    write_line(LOG_LEVEL_ERROR, 1, line, sizeof line);
    check(strncmp(line, "error pid=", 10) == 0, "\"%s\"", line);
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        if (streams[i] != NULL)
            setenv("JOURNAL_STREAM", streams[i], 1);
        else
            unsetenv("JOURNAL_STREAM");
        log_open("test", LOG_TO_STDERR);
        check(log_mark(LOG_LEVEL_ERROR)[0] == '\0', "row %zu", i);
    }
}

/* A line that is cut still ends with a newline. */
static void test_a_long_line_is_cut(void **state)
{
    static char text[5000];
    char line[6000];
    struct capture capture = begin_capture();

    (void)state;
    memset(text, 'x', sizeof text - 1);
    unsetenv("JOURNAL_STREAM");
    log_open("test", LOG_TO_STDERR);
    log_message(LOG_LEVEL_INFO, text);
    end_capture(&capture, line, sizeof line);
    assert_int_equal(strlen(line), 2048);
    assert_int_equal(line[2047], '\n');
}

static void test_syslog_gets_priorities(void **state)
{
    (void)state;
    log_open("test", LOG_TO_SYSLOG);
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        log_event(levels[i].level, "it is", log_text("percent", "%s%n"));
        check(told_priority == levels[i].priority, "%s", levels[i].name);
        assert_string_equal(told, "msg=\"it is\" percent=%s%n");
    }
    closelog();
}

/* The limit's own cases are in test_log_limit.c. */
static void test_lines_that_clients_cause_are_limited(void **state)
{
    char text[4096], wanted[256];
    size_t len = 0;
    struct capture capture = begin_capture();

    (void)state;
    unsetenv("JOURNAL_STREAM");
    log_open("test", LOG_TO_STDERR);
    for (int i = 0; i < 14; i++)
        log_event_limited(LOG_LEVEL_WARN, "it is", log_text("route", "/a b"), log_number("n", i));
    log_event_limited(LOG_LEVEL_WARN, "it is", log_text("route", "/c"), log_number("n", 14));
    log_tell_suppressed(true);
    log_tell_suppressed(true);
    end_capture(&capture, text, sizeof text);
    for (int i = 0; i < 16; i++) {
        bool other = i == 14, telling = i == 15;
        if (i >= 10 && i < 14)
            continue;
        if (telling)
            snprintf(wanted, sizeof wanted,
                     "warn pid=%ld msg=\"log lines were left out\" of=\"it is\" route=\"/a b\" "
                     "suppressed=4\n",
                     (long)getpid());
        else
            snprintf(wanted, sizeof wanted, "warn pid=%ld msg=\"it is\" route=%s n=%d\n",
                     (long)getpid(), other ? "/c" : "\"/a b\"", i);
        check(strncmp(text + len, wanted, strlen(wanted)) == 0, "line %d of:\n%s", i, text);
        len += strlen(wanted);
    }
    assert_int_equal(len, strlen(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_journal_gets_priorities),
        cmocka_unit_test(test_another_standard_error_does_not),
        cmocka_unit_test(test_a_long_line_is_cut),
        cmocka_unit_test(test_syslog_gets_priorities),
        cmocka_unit_test(test_lines_that_clients_cause_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
