/* SPDX-License-Identifier: BSD-2-Clause */
/* Of several processes that wait for the same listener, one is woken for a connection. */
#include "config.h"

#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http/exclusive.h"

enum { CHILDREN = 4, CONNECTIONS = 100 };

static int listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX};

/* One byte for whoever has connected. */
static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    int fd = accept4(watcher->fd, NULL, NULL, SOCK_CLOEXEC);

    (void)loop;
    (void)events;
    if (fd != -1 && write(fd, "x", 1) == 1)
        close(fd);
}

static void serve(void)
{
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
    struct exclusive exclusive;

    exclusive_start(&exclusive, loop, listener, on_readable, NULL);
    ev_run(loop, 0);
}

static void connect_once(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte;

    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(read(fd, &byte, 1), 1);
    close(fd);
}

/* How often a process has gone to sleep by itself. */
static long sleeps(pid_t pid)
{
    char path[64], line[128];
    long count = -1;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *status = fopen(path, "r");
    assert_non_null(status);
    while (count == -1 && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &count) != 1)
            count = -1;
    fclose(status);
    return count;
}

static void listen_somewhere(void)
{
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/test_exclusive.%ld", (long)getpid());
    unlink(address.sun_path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 16), 0);
}

static void test_one_process_is_woken(void **state)
{
    pid_t children[CHILDREN];
    long before = 0, after = 0;

    (void)state;
    listen_somewhere();
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            serve();
            _exit(0);
        }
    }
    /* the first ones find some that are not waiting exclusively yet */
    for (int i = 0; i < 10 * CHILDREN; i++) {
        connect_once();
        usleep(1000);
    }
    for (int i = 0; i < CHILDREN; i++)
        before += sleeps(children[i]);
    for (int i = 0; i < CONNECTIONS; i++)
        connect_once();
    for (int i = 0; i < CHILDREN; i++) {
        after += sleeps(children[i]);
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    unlink(address.sun_path);
    check(after - before < 2 * CONNECTIONS, "%d connections woke processes %ld times", CONNECTIONS,
          after - before);
}

static int calls;

static void on_count(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)events;
    calls++;
    close(accept4(watcher->fd, NULL, NULL, SOCK_CLOEXEC));
    ev_break(loop, EVBREAK_ALL);
}

/* Two turns of the loop: the second is the first one with an exclusive watch. */
static int calls_after_connecting(struct ev_loop *loop)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), before = calls;

    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    ev_run(loop, EVRUN_NOWAIT);
    ev_run(loop, EVRUN_NOWAIT);
    close(fd);
    return calls - before;
}

static void test_pause_and_resume(void **state)
{
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
    struct exclusive exclusive;

    (void)state;
    listen_somewhere();
    exclusive_start(&exclusive, loop, listener, on_count, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(calls_after_connecting(loop), 1);
        assert_true(exclusive.epoll_fd != -1);
        exclusive_pause(&exclusive);
        exclusive_pause(&exclusive);
        assert_int_equal(calls_after_connecting(loop), 0);
        exclusive_resume(&exclusive);
        exclusive_resume(&exclusive);
        ev_run(loop, EVRUN_NOWAIT);
    }
    exclusive_stop(&exclusive);
    assert_int_equal(calls_after_connecting(loop), 0);
    ev_loop_destroy(loop);
    close(listener);
    unlink(address.sun_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_process_is_woken),
        cmocka_unit_test(test_pause_and_resume),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
