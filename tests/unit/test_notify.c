/* SPDX-License-Identifier: BSD-2-Clause */
/* What a service manager is sent, at a socket file and in the abstract namespace, and on which
   clock. */
#include "config.h"

#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "prefork/notify.h"

/* The linker puts it in the place of clock_gettime: this machine has slept a long time. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    *now = (struct timespec){.tv_sec = clock == CLOCK_MONOTONIC ? 1234 : 999999, .tv_nsec = 5678};
    return 0;
}

/* A manager's socket, named by `name` as in NOTIFY_SOCKET. */
static int open_manager(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    assert_int_not_equal(fd, -1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 20},
               sizeof(struct timeval));
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void take(int fd, char *text, size_t size)
{
    ssize_t len = recv(fd, text, size - 1, 0);

    assert_true(len >= 0);
    text[len] = '\0';
}

static void name_socket(char *name, size_t size, const char *beginning)
{
    snprintf(name, size, "%sleeway-notify-%ld", beginning, (long)getpid());
}

static void test_both_kinds_of_socket(void **state)
{
    static const char *const beginnings[] = {"/tmp/", "@"};
    char name[64], text[128];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(beginnings); i++) {
        name_socket(name, sizeof name, beginnings[i]);
        int fd = open_manager(name);
        notify_manager("READY=1");
        take(fd, text, sizeof text);
        assert_string_equal(text, "READY=1");
        close(fd);
        /* nobody there: no harm */
        notify_manager("READY=1");
        if (name[0] == '/')
            unlink(name);
    }
}

static void test_nobody_to_tell(void **state)
{
    static const char *const names[] = {"", "relative", "@", "/nowhere/at/all"};

    (void)state;
    unsetenv("NOTIFY_SOCKET");
    notify_manager("READY=1");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        notify_manager("READY=1");
    }
}

static void test_reloading_is_dated_by_the_manager_s_clock(void **state)
{
    char name[64], text[128];

    (void)state;
    name_socket(name, sizeof name, "@");
    int fd = open_manager(name);
    notify_reloading();
    take(fd, text, sizeof text);
    assert_string_equal(text, "RELOADING=1\nMONOTONIC_USEC=1234000005");
    close(fd);
}

static void *tell(void *data)
{
    (void)data;
    notify_manager("READY=1");
    return NULL;
}

/* A busy manager's socket is full for a moment. */
static void test_a_full_socket_is_waited_for(void **state)
{
    char name[64], text[128] = "";
    pthread_t teller;
    int filled = 0;

    (void)state;
    name_socket(name, sizeof name, "@");
    int manager = open_manager(name);
    int filler = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address;
    socklen_t len = sizeof address;
    assert_int_equal(getsockname(manager, (struct sockaddr *)&address, &len), 0);
    while (sendto(filler, "x", 1, 0, (const struct sockaddr *)&address, len) == 1)
        filled++;
    assert_int_equal(pthread_create(&teller, NULL, tell, NULL), 0);
    for (int i = 0; i < filled; i++) {
        take(manager, text, sizeof text);
        assert_string_equal(text, "x");
    }
    take(manager, text, sizeof text);
    assert_string_equal(text, "READY=1");
    pthread_join(teller, NULL);
    close(filler);
    close(manager);
}

static void test_how_often_a_watchdog_wants_to_hear(void **state)
{
    char own[24];
    const struct {
        const char *period, *pid;
        int64_t us;
    } cases[] = {
        {NULL, NULL, 0},
        {"3000000", NULL, 1500000},
        {"3000000", own, 1500000},
        {"3000000", "1", 0},
        {"3000000", "", 0},
        {"", NULL, 0},
        {"0", NULL, 0},
        {"-5", NULL, 0},
        {"3s", NULL, 0},
    };

    (void)state;
    snprintf(own, sizeof own, "%ld", (long)getpid());
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
        if (cases[i].period != NULL)
            setenv("WATCHDOG_USEC", cases[i].period, 1);
        if (cases[i].pid != NULL)
            setenv("WATCHDOG_PID", cases[i].pid, 1);
        check(notify_watchdog_us() == cases[i].us, "case %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_kinds_of_socket),
        cmocka_unit_test(test_nobody_to_tell),
        cmocka_unit_test(test_reloading_is_dated_by_the_manager_s_clock),
        cmocka_unit_test(test_a_full_socket_is_waited_for),
        cmocka_unit_test(test_how_often_a_watchdog_wants_to_hear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
