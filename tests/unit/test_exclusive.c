/* SPDX-License-Identifier: BSD-2-Clause */
/* Of several processes that wait for the same listener, one is woken for a connection, and another
   one if it gives way. */
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

struct server {
    struct exclusive exclusive;
    char index;
    bool yields;
};

/* One byte for whoever has connected, which says who has answered. */
static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct server *server = watcher->data;
    int fd = accept4(watcher->fd, NULL, NULL, SOCK_CLOEXEC);

    (void)loop;
    (void)events;
    if (fd == -1)
        return;
    if (server->yields)
        exclusive_yield(&server->exclusive);
    if (write(fd, &server->index, 1) == 1)
        close(fd);
}

static void serve(int index, bool yields)
{
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
    struct server server = {.index = (char)index, .yields = yields};

    exclusive_start(&server.exclusive, loop, listener, on_readable, &server);
    ev_run(loop, 0);
}

/* Who has answered. */
static int connect_once(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte;

    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(read(fd, &byte, 1), 1);
    close(fd);
    return byte;
}

static void listen_somewhere(void)
{
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/test_exclusive.%ld", (long)getpid());
    unlink(address.sun_path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 16), 0);
}

static void start_children(pid_t children[CHILDREN], bool yield)
{
    listen_somewhere();
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            serve(i, yield);
            _exit(0);
        }
    }
    /* the first ones find some that are not waiting exclusively yet */
    for (int i = 0; i < 10 * CHILDREN; i++) {
        connect_once();
        usleep(1000);
    }
}

static void stop_children(const pid_t children[CHILDREN])
{
    for (int i = 0; i < CHILDREN; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    close(listener);
    unlink(address.sun_path);
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

static void test_one_process_is_woken(void **state)
{
    pid_t children[CHILDREN];
    long before = 0, after = 0;

    (void)state;
    start_children(children, false);
    for (int i = 0; i < CHILDREN; i++)
        before += sleeps(children[i]);
    for (int i = 0; i < CONNECTIONS; i++)
        connect_once();
    for (int i = 0; i < CHILDREN; i++)
        after += sleeps(children[i]);
    stop_children(children);
    check(after - before < 2 * CONNECTIONS, "%d connections woke processes %ld times", CONNECTIONS,
          after - before);
}

static void test_who_yields_is_woken_last(void **state)
{
    pid_t children[CHILDREN];
    int answered[CHILDREN] = {0};

    (void)state;
    start_children(children, true);
    for (int i = 0; i < CONNECTIONS; i++)
        answered[connect_once()]++;
    stop_children(children);
    for (int i = 0; i < CHILDREN; i++)
        check(answered[i] >= CONNECTIONS / CHILDREN / 4, "process %d has answered %d of %d", i,
              answered[i], CONNECTIONS);
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
        exclusive_yield(&exclusive);
        assert_int_equal(calls_after_connecting(loop), 1);
        exclusive_pause(&exclusive);
        exclusive_pause(&exclusive);
        exclusive_yield(&exclusive);
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
        cmocka_unit_test(test_who_yields_is_woken_last),
        cmocka_unit_test(test_pause_and_resume),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
