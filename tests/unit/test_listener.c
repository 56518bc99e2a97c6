/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets that are made: whose file may be replaced, and which addresses are listened on. */
#include "config.h"

#include "unit.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <talloc.h>
#include <unistd.h>

#include "prefork/listener.h"

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **info);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **info);
void __real_freeaddrinfo(struct addrinfo *info);
void __wrap_freeaddrinfo(struct addrinfo *info);

enum { NOBODY = 65534 };

struct fixture {
    char directory[64];
    char path[80];
    char address[100];
    char error[256];
};

static int set_up(void **state)
{
    struct fixture *fixture = talloc_zero(NULL, struct fixture);

    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/leeway-listener-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    assert_int_equal(chmod(fixture->directory, 0777), 0);
    snprintf(fixture->path, sizeof fixture->path, "%s/socket", fixture->directory);
    snprintf(fixture->address, sizeof fixture->address, "unix:%s", fixture->path);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    unlink(fixture->path);
    rmdir(fixture->path);
    rmdir(fixture->directory);
    talloc_free(fixture);
    return 0;
}

static int open_with(struct fixture *fixture, const char *address, int64_t group)
{
    const struct listener_options options = {.address = address, .mode = 0640, .group = group};

    fixture->error[0] = '\0';
    return listener_open(&options, fixture->error, sizeof fixture->error);
}

static int open_unix(struct fixture *fixture)
{
    return open_with(fixture, fixture->address, -1);
}

static ino_t number_of(const struct fixture *fixture)
{
    struct stat file;

    return lstat(fixture->path, &file) == 0 ? file.st_ino : 0;
}

/* A socket of another process at the path, which listens if backlog is not -1. */
static int put_socket(const struct fixture *fixture, int type, int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type, 0);

    memcpy(address.sun_path, fixture->path, strlen(fixture->path));
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    if (backlog != -1)
        assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static void check_left_alone(struct fixture *fixture, const char *sentence)
{
    ino_t before = number_of(fixture);

    assert_int_equal(open_unix(fixture), -1);
    check(strstr(fixture->error, sentence) != NULL, "\"%s\", not \"%s\"", fixture->error, sentence);
    check(strstr(fixture->error, fixture->path) != NULL, "%s", fixture->error);
    assert_int_equal(number_of(fixture), before);
}

static void test_made_and_removed(void **state)
{
    struct fixture *fixture = *state;
    struct stat file;
    int fd = open_unix(fixture), accepts = 0;
    socklen_t size = sizeof accepts;

    check(fd != -1, "%s", fixture->error);
    assert_int_equal(stat(fixture->path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0640);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size), 0);
    assert_int_equal(accepts, 1);
    listener_unlink(fixture->address);
    assert_int_equal(number_of(fixture), 0);
    close(fd);
}

static void test_a_successor_s_file_is_not_removed(void **state)
{
    struct fixture *fixture = *state;
    int fd = open_unix(fixture);

    check(fd != -1, "%s", fixture->error);
    unlink(fixture->path);
    int successor = put_socket(fixture, SOCK_STREAM, 1);
    listener_unlink(fixture->address);
    assert_int_not_equal(number_of(fixture), 0);
    close(successor);
    close(fd);
}

static void test_a_dead_socket_is_replaced(void **state)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        unlink(fixture->path);
        close(put_socket(fixture, types[i], -1));
        int fd = open_unix(fixture);
        check(fd != -1, "%s", fixture->error);
        close(fd);
    }
}

static void test_a_living_socket_is_left_alone(void **state)
{
    static const struct {
        int type, backlog;
        const char *sentence;
    } cases[] = {
        {SOCK_STREAM, 5, "in use"},
        {SOCK_DGRAM, -1, "cannot be told"},
        {SOCK_SEQPACKET, 5, "cannot be told"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        unlink(fixture->path);
        int other = put_socket(fixture, cases[i].type, cases[i].backlog);
        check_left_alone(fixture, cases[i].sentence);
        close(other);
    }
}

/* More wait than may, so that another is not even let in. */
static void test_a_busy_socket_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int other = put_socket(fixture, SOCK_STREAM, 0), clients[8];

    memcpy(address.sun_path, fixture->path, strlen(fixture->path));
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(clients[i], (const struct sockaddr *)&address, sizeof address);
    }
    check_left_alone(fixture, "in use");
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        close(clients[i]);
    close(other);
}

/* By somebody who may remove the file but not connect to it, which root may always. */
static void test_a_socket_of_others_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    int other = put_socket(fixture, SOCK_STREAM, 5), status;

    assert_int_equal(chmod(fixture->path, 0), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(NOBODY) == -1 || setuid(NOBODY) == -1))
            _exit(2);
        bool opened = open_unix(fixture) != -1;
        _exit(opened || strstr(fixture->error, "cannot be told") == NULL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_not_equal(number_of(fixture), 0);
    close(other);
}

static void test_what_is_no_socket_is_left_alone(void **state)
{
    struct fixture *fixture = *state;

    close(open(fixture->path, O_CREAT | O_WRONLY, 0600));
    check_left_alone(fixture, "no socket");
    unlink(fixture->path);
    assert_int_equal(symlink("/nonexistent", fixture->path), 0);
    check_left_alone(fixture, "no socket");
    unlink(fixture->path);
    assert_int_equal(mkdir(fixture->path, 0700), 0);
    check_left_alone(fixture, "no socket");
}

static void test_the_group(void **state)
{
    struct fixture *fixture = *state;
    gid_t group = geteuid() == 0 ? 12345 : getegid();
    struct stat file;
    int fd = open_with(fixture, fixture->address, group);

    check(fd != -1, "%s", fixture->error);
    assert_int_equal(stat(fixture->path, &file), 0);
    assert_int_equal(file.st_gid, group);
    assert_int_equal(file.st_mode & 0777, 0640);
    close(fd);
}

static void test_a_group_that_it_is_no_member_of(void **state)
{
    struct fixture *fixture = *state;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (geteuid() == 0 && (setgid(NOBODY) == -1 || setuid(NOBODY) == -1))
            _exit(2);
        bool opened = open_with(fixture, fixture->address, 54321) != -1;
        _exit(opened || strstr(fixture->error, "socket_group") == NULL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(number_of(fixture), 0);
}

enum { STARTERS = 6, ROUNDS = 200 };

/* A child that starts when `go` ends, and keeps its socket until `done` does. Its exit status
   says whether it has one. */
static pid_t start_another(struct fixture *fixture, const int go[2], const int done[2], int said)
{
    char byte;
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    close(go[1]);
    close(done[1]);
    if (read(go[0], &byte, 1) != 0)
        _exit(2);
    bool opened = open_unix(fixture) != -1;
    if (write(said, opened ? "y" : "n", 1) != 1 || read(done[0], &byte, 1) != 0)
        _exit(2);
    _exit(opened ? 1 : 0);
}

static int start_all_at_once(struct fixture *fixture)
{
    int go[2], done[2], said[2], status, winners = 0;
    pid_t pids[STARTERS];
    char byte;

    assert_int_equal(pipe(go) | pipe(done) | pipe(said), 0);
    for (int i = 0; i < STARTERS; i++)
        pids[i] = start_another(fixture, go, done, said[1]);
    close(go[1]);
    for (int i = 0; i < STARTERS; i++)
        assert_int_equal(read(said[0], &byte, 1), 1);
    close(done[1]);
    for (int i = 0; i < STARTERS; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        winners += WEXITSTATUS(status);
    }
    close(go[0]);
    close(done[0]);
    close(said[0]);
    close(said[1]);
    return winners;
}

/* Each round leaves a dead socket to the next one. */
static void test_of_many_at_once_one_gets_it(void **state)
{
    for (int round = 0; round < ROUNDS; round++)
        check(start_all_at_once(*state) == 1, "round %d", round);
}

/* The addresses of two names: one.example's comes twice, as from a hosts file. */
static struct sockaddr_in first = {.sin_family = AF_INET};
static struct sockaddr_in6 second = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
static struct addrinfo ipv6_info = {
    .ai_family = AF_INET6,
    .ai_socktype = SOCK_STREAM,
    .ai_addrlen = sizeof second,
    .ai_addr = (struct sockaddr *)&second,
};
static struct addrinfo again_info, first_info = {
                                       .ai_family = AF_INET,
                                       .ai_socktype = SOCK_STREAM,
                                       .ai_addrlen = sizeof first,
                                       .ai_addr = (struct sockaddr *)&first,
};

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **info)
{
    if (strstr(host, ".example") == NULL)
        return __real_getaddrinfo(host, port, hints, info);
    first.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    first.sin_port = second.sin6_port = htons((uint16_t)atoi(port));
    again_info = first_info;
    again_info.ai_next = strcmp(host, "two.example") == 0 ? &ipv6_info : NULL;
    first_info.ai_next = &again_info;
    *info = &first_info;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *info)
{
    if (info != &first_info)
        __real_freeaddrinfo(info);
}

static void test_addresses_that_are_refused(void **state)
{
    static const struct {
        const char *address, *sentence;
    } cases[] = {
        {"tcp:127.0.0.1:99999", "1 to 65535"},
        {"tcp:127.0.0.1:65536", "1 to 65535"},
        {"tcp:127.0.0.1:0", "1 to 65535"},
        {"tcp:127.0.0.1:-1", "1 to 65535"},
        {"tcp:127.0.0.1:18446744073709551617", "1 to 65535"},
        {"tcp:127.0.0.1:90x", "1 to 65535"},
        {"tcp:127.0.0.1:http", "1 to 65535"},
        {"tcp:127.0.0.1:", "1 to 65535"},
        {"tcp:127.0.0.1", "HOST:PORT"},
        {"tcp::9000", "HOST:PORT"},
        {"tcp:[]:9000", "HOST:PORT"},
        {"tcp:", "HOST:PORT"},
        {"tcp:::1:9000", "brackets"},
        {"tcp:[::1:9000", "brackets"},
        {"tcp:[127.0.0.1]:9000", "tcp"},
        {"tcp:[localhost]:9000", "tcp"},
        {"tcp:two.example:9000", "127.0.0.1 and ::1"},
        {"127.0.0.1:9000", "unix:PATH"},
        {"unix:", "1 to 107 bytes"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        check(open_with(fixture, cases[i].address, -1) == -1, "%s", cases[i].address);
        check(strcmp(cases[i].sentence, "tcp") == 0 ||
                  strstr(fixture->error, cases[i].sentence) != NULL,
              "%s: %s", cases[i].address, fixture->error);
    }
}

/* A port that nobody else uses. */
static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void test_addresses_that_are_listened_on(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "one.example"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        struct sockaddr_in address;
        socklen_t size = sizeof address;
        char text[64];
        int port = free_port();
        snprintf(text, sizeof text, "tcp:%s:%d", hosts[i], port);
        int fd = open_with(fixture, text, -1);
        check(fd != -1, "%s", fixture->error);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
        assert_int_equal(ntohl(address.sin_addr.s_addr), INADDR_LOOPBACK);
        assert_int_equal(ntohs(address.sin_port), port);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_and_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_successor_s_file_is_not_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_dead_socket_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_living_socket_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_busy_socket_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_socket_of_others_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_socket_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_group_that_it_is_no_member_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_of_many_at_once_one_gets_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses_that_are_listened_on, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
