/* SPDX-License-Identifier: BSD-2-Clause */
/* Where log lines go and with which priority: standard error, the journal behind it, syslog. */
#include "config.h"

#include "unit.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
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

/* Where /dev/log leads; the linker puts this in connect's place. */
static char syslog_path[64];

int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    struct sockaddr_un there = {.sun_family = AF_UNIX};

    if (strcmp(((const struct sockaddr_un *)(const void *)address)->sun_path, "/dev/log") != 0)
        return __real_connect(fd, address, size);
    snprintf(there.sun_path, sizeof there.sun_path, "%s", syslog_path);
    return __real_connect(fd, (const struct sockaddr *)&there, sizeof there);
}

static int64_t now_us = 1000000;

int64_t __wrap_clock_monotonic_us(void);
int64_t __wrap_clock_monotonic_us(void)
{
    return now_us;
}

static void open_log(const char *destination)
{
    char error[256] = "";

    check(log_open("test", destination, error, sizeof error) == 0, "%s", error);
    now_us += 100 * 1000000; /* whatever was limited is not any more */
}

/* Takes each line's time away, once it is seen to have the form of RFC 3339. */
static void take_times(char *text)
{
    static const char form[] = "time=2026-11-27T19:48:20.123Z ";
    char *from = text, *to = text;

    while (*from != '\0') {
        if (strncmp(from, "time=", 5) == 0) {
            for (size_t i = 0; form[i] != '\0'; i++, from++)
                check(isdigit((unsigned char)form[i]) ? isdigit((unsigned char)*from)
                                                      : *from == form[i],
                      "not a time at %zu: %.40s", i, from - i);
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
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
    open_log("stderr");
    log_event(level, "it is", log_number("n", 7));
    end_capture(&capture, text, size);
    assert_true(inode_off == 0 || strstr(text, " time=") != NULL);
    take_times(text);
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
        open_log("stderr");
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
    open_log("stderr");
    log_message(LOG_LEVEL_INFO, text);
    end_capture(&capture, line, sizeof line);
    assert_int_equal(strlen(line), 2048);
    assert_int_equal(line[2047], '\n');
}

/* A daemon's end, which is read only if the test reads it. */
static int listen_as_syslog(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(syslog_path, sizeof syslog_path, "/tmp/leeway-log-%ld", (long)getpid());
    snprintf(address.sun_path, sizeof address.sun_path, "%s", syslog_path);
    unlink(syslog_path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_true(type == SOCK_DGRAM || listen(fd, 5) == 0);
    return fd;
}

static void close_syslog(int fd)
{
    close(fd);
    unlink(syslog_path);
    log_to_stderr("test");
}

static size_t take(int fd, char *text, size_t size)
{
    ssize_t len = recv(fd, text, size - 1, 0);

    text[len > 0 ? len : 0] = '\0';
    return len > 0 ? (size_t)len : 0;
}

/* "<PRI>Mon dd hh:mm:ss test[PID]: " and the message. */
static const char *message_of(const char *text, int priority)
{
    char head[64], *end;
    const char *found;

    check(text[0] == '<' && strtol(text + 1, &end, 10) == (LOG_DAEMON | priority) && *end == '>',
          "%s", text);
    snprintf(head, sizeof head, " test[%ld]: ", (long)getpid());
    found = strstr(text, head);
    check(found != NULL && found - end == 1 + 15, "%s", text);
    return found != NULL ? found + strlen(head) : "";
}

static void test_syslog_gets_priorities(void **state)
{
    int daemon = listen_as_syslog(SOCK_DGRAM);
    char text[512];

    (void)state;
    open_log("syslog");
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        log_event(levels[i].level, "it is", log_text("percent", "%s%n"));
        take(daemon, text, sizeof text);
        take_times(text);
        assert_string_equal(message_of(text, levels[i].priority), "msg=\"it is\" percent=%s%n");
    }
    close_syslog(daemon);
}

static void test_syslog_by_a_stream(void **state)
{
    int daemon = listen_as_syslog(SOCK_STREAM), peer;
    char text[512];
    size_t len;

    (void)state;
    open_log("syslog");
    log_message(LOG_LEVEL_INFO, "one");
    log_message(LOG_LEVEL_INFO, "two");
    peer = accept(daemon, NULL, NULL);
    len = take(peer, text, sizeof text);
    assert_true(len > 0 && text[len - 1] == '\0');
    take_times(text);
    assert_string_equal(message_of(text, LOG_INFO), "msg=one");
    close(peer);
    close_syslog(daemon);
}

/* One that does not read holds up nobody; one that is started anew is found again. */
static void test_a_syslog_daemon_that_does_not_read(void **state)
{
    int daemon = listen_as_syslog(SOCK_DGRAM);
    char text[4096], error[64];
    int taken = 0;

    (void)state;
    (void)log_take_dropped();
    open_log("syslog");
    for (int i = 0; i < 3000; i++, now_us += 10000)
        log_event(LOG_LEVEL_INFO, "it is", log_number("n", i));
    uint64_t dropped = log_take_dropped();
    assert_in_range(dropped, 1, 2999);
    while (take(daemon, text, sizeof text) > 0)
        taken++;
    assert_int_equal(taken + (int)dropped, 3000);
    log_message(LOG_LEVEL_INFO, "after");
    take(daemon, text, sizeof text);
    snprintf(error, sizeof error, "dropped=%d", (int)dropped);
    assert_non_null(strstr(text, error));
    take(daemon, text, sizeof text);
    assert_non_null(strstr(text, "msg=after"));
    close(daemon);
    daemon = listen_as_syslog(SOCK_DGRAM);
    log_message(LOG_LEVEL_INFO, "anew");
    take(daemon, text, sizeof text);
    assert_non_null(strstr(text, "msg=anew"));
    close(daemon);
    unlink(syslog_path);
    log_message(LOG_LEVEL_INFO, "nobody");
    assert_int_equal(log_take_dropped(), 1);
    log_to_stderr("test");
    log_tell_suppressed(true);
}

/* A pipe that nobody empties: lines are lost and counted, and whoever shares it is not made to
   write without waiting. */
static void test_a_full_pipe(void **state)
{
    static char text[1024 * 1024];
    int saved = dup(STDERR_FILENO), ends[2];
    size_t len = 0, lines = 0;
    ssize_t got;

    (void)state;
    unsetenv("JOURNAL_STREAM");
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], STDERR_FILENO);
    open_log("stderr");
    for (int i = 0; i < 5000; i++, now_us += 10000)
        log_event(LOG_LEVEL_INFO, "it is", log_number("n", i));
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    uint64_t dropped = log_take_dropped();
    assert_in_range(dropped, 1, 4999);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    while ((got = read(ends[0], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)got;
    log_tell_suppressed(false);
    log_message(LOG_LEVEL_INFO, "after");
    len += (size_t)read(ends[0], text + len, sizeof text - 1 - len);
    text[len] = '\0';
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, 5000 - dropped + 2);
    assert_non_null(strstr(text, "dropped="));
    assert_non_null(strstr(text, "msg=after\n"));
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    log_to_stderr("test");
}

static void read_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");

    text[file != NULL ? fread(text, 1, size - 1, file) : 0] = '\0';
    if (file != NULL)
        fclose(file);
}

static void test_a_file_that_is_moved(void **state)
{
    char directory[] = "/tmp/leeway-log-XXXXXX", path[64], moved[64], target[80], text[1024];
    char error[256];

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/log", directory);
    snprintf(moved, sizeof moved, "%s/log.1", directory);
    snprintf(target, sizeof target, "file:%s", path);
    open_log(target);
    log_message(LOG_LEVEL_INFO, "one");
    assert_int_equal(rename(path, moved), 0);
    log_message(LOG_LEVEL_INFO, "two"); /* nobody has looked as yet, or somebody has */
    now_us += 1000000;
    log_message(LOG_LEVEL_INFO, "three");
    read_file(path, text, sizeof text);
    assert_non_null(strstr(text, "msg=three\n"));
    read_file(moved, text, sizeof text);
    assert_non_null(strstr(text, "msg=one\n"));
    /* it stays open while there is no other to be had */
    assert_int_equal(rename(path, moved) + mkdir(path, 0700), 0);
    now_us += 1000000;
    (void)log_take_dropped();
    log_message(LOG_LEVEL_INFO, "four");
    assert_int_equal(log_take_dropped(), 0);
    snprintf(error, sizeof error, "-");
    assert_int_equal(log_open("test", target, error, sizeof error), -1);
    assert_non_null(strstr(error, path));
    log_to_stderr("test");
    rmdir(path);
    unlink(moved);
    rmdir(directory);
}

/* Another process that shares the log, and has room for half of a line only. */
static void tear_a_line(const char *path)
{
    struct stat file;

    assert_int_equal(stat(path, &file), 0);
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit full = {(rlim_t)file.st_size + 20, RLIM_INFINITY};
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &full) == 0)
            log_message(LOG_LEVEL_INFO, "torn");
        _exit(log_take_dropped() == 1 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void check_lines(const char *path)
{
    char text[1024];

    log_message(LOG_LEVEL_INFO, "one");
    tear_a_line(path);
    log_message(LOG_LEVEL_INFO, "two");
    log_message(LOG_LEVEL_INFO, "three");
    read_file(path, text, sizeof text);
    const char *line = text;
    static const char *const ends[] = {"msg=one", "", "msg=two", "msg=three"};
    for (size_t i = 0; i < COUNT_OF(ends); i++, line += strcspn(line, "\n") + 1) {
        size_t len = strcspn(line, "\n"), end = strlen(ends[i]);
        check(strncmp(line, "info ", 5) == 0 && len > end &&
                  strncmp(line + len - end, ends[i], end) == 0,
              "%zu: %s", i, text);
    }
    assert_int_equal(*line, '\0');
}

static void test_a_line_that_a_full_disk_has_torn(void **state)
{
    char directory[] = "/tmp/leeway-log-XXXXXX", path[64], target[80];

    (void)state;
    unsetenv("JOURNAL_STREAM");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/log", directory);
    snprintf(target, sizeof target, "file:%s", path);
    open_log(target);
    check_lines(path);
    assert_int_equal(unlink(path), 0);
    int saved = dup(STDERR_FILENO),
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    close(fd);
    log_to_stderr("test");
    check_lines(path);
    dup2(saved, STDERR_FILENO);
    close(saved);
    log_to_stderr("test");
    unlink(path);
    rmdir(directory);
}

/* What nobody could ever read is dropped, and counted. */
static void test_a_file_that_is_lost(void **state)
{
    char directory[] = "/tmp/leeway-log-XXXXXX", path[64], target[80], text[1024];

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/log", directory);
    snprintf(target, sizeof target, "file:%s", path);
    open_log(target);
    (void)log_take_dropped();
    assert_int_equal(unlink(path) + rmdir(directory), 0);
    now_us += 1000000;
    log_message(LOG_LEVEL_INFO, "one");
    assert_int_equal(log_take_dropped(), 1);
    assert_int_equal(mkdir(directory, 0700), 0);
    now_us += 1000000;
    log_message(LOG_LEVEL_INFO, "two");
    read_file(path, text, sizeof text);
    assert_non_null(strstr(text, "dropped=1\n"));
    assert_non_null(strstr(text, "msg=two\n"));
    log_to_stderr("test");
    unlink(path);
    rmdir(directory);
}

static void test_a_line_that_comes_again_is_limited(void **state)
{
    char text[4096];
    struct capture capture = begin_capture();

    (void)state;
    open_log("stderr");
    for (int i = 0; i < 30; i++)
        log_event(LOG_LEVEL_WARN, "again", log_text("where", "here"), log_number("n", i % 2));
    log_tell_suppressed(true);
    end_capture(&capture, text, sizeof text);
    size_t lines = 0;
    for (const char *at = text; (at = strstr(at, "msg=again")) != NULL; at++)
        lines++;
    assert_int_equal(lines, 20);
    assert_non_null(strstr(text, "of=again where=here suppressed=5\n"));
}

/* The limit's own cases are in test_log_limit.c. */
static void test_lines_that_clients_cause_are_limited(void **state)
{
    char text[4096], wanted[256];
    size_t len = 0;
    struct capture capture = begin_capture();

    (void)state;
    unsetenv("JOURNAL_STREAM");
    open_log("stderr");
    for (int i = 0; i < 14; i++)
        log_event_limited(LOG_LEVEL_WARN, "it is", log_text("route", "/a b"), log_number("n", i));
    log_event_limited(LOG_LEVEL_WARN, "it is", log_text("route", "/c"), log_number("n", 14));
    log_tell_suppressed(true);
    log_tell_suppressed(true);
    end_capture(&capture, text, sizeof text);
    take_times(text);
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
        cmocka_unit_test(test_syslog_by_a_stream),
        cmocka_unit_test(test_a_syslog_daemon_that_does_not_read),
        cmocka_unit_test(test_a_full_pipe),
        cmocka_unit_test(test_a_file_that_is_moved),
        cmocka_unit_test(test_a_file_that_is_lost),
        cmocka_unit_test(test_a_line_that_a_full_disk_has_torn),
        cmocka_unit_test(test_a_line_that_comes_again_is_limited),
        cmocka_unit_test(test_lines_that_clients_cause_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
