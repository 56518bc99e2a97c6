/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection, whose calls may all block: an alarm ends the process. */
#include "config.h"

#include "app/ask.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/application.h"
#include "base/mem.h"
#include "http/fcgi_client.h"

enum { PATIENCE_S = 5, MAX_ANSWER = 64 * 1024 };

static char no_answer[512];

static void on_alarm(int number)
{
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, no_answer, strlen(no_answer));
    (void)ignored;
    _exit(ASK_UNANSWERED);
}

/* Who asks may have inherited a mask. */
static void unblock_alarm(void)
{
    sigset_t alarms;

    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &alarms, NULL);
}

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "leeway-worker: %s: %s\n", what, why);
    return -1;
}

static int connect_unix(const char *address, const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof name.sun_path)
        return complain(address, "the path is too long");
    strcpy(name.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || connect(fd, (const struct sockaddr *)&name, sizeof name) == -1)
        return complain(address, strerror(errno));
    return fd;
}

static int connect_any(const char *address, const struct addrinfo *found)
{
    int error = EINVAL;

    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next) {
        int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, 0);
        if (fd != -1 && connect(fd, info->ai_addr, info->ai_addrlen) == 0)
            return fd;
        error = errno;
        if (fd != -1)
            close(fd);
    }
    return complain(address, strerror(error));
}

static int connect_tcp(const char *address, const char *name)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(name, ':');
    struct addrinfo *found;
    char host[256];
    size_t len = colon != NULL ? (size_t)(colon - name) : 0;

    if (len >= 2 && name[0] == '[' && name[len - 1] == ']') {
        name++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof host)
        return complain(address, "a TCP address is HOST:PORT");
    memcpy(host, name, len);
    host[len] = '\0';
    int problem = getaddrinfo(host, colon + 1, &wanted, &found);
    if (problem != 0)
        return complain(address, gai_strerror(problem));
    int fd = connect_any(address, found);
    freeaddrinfo(found);
    return fd;
}

static int connect_to(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        return connect_unix(address, address + 5);
    if (strncmp(address, "tcp:", 4) == 0)
        return connect_tcp(address, address + 4);
    return complain(address, "an address is unix:PATH or tcp:HOST:PORT");
}

static int send_all(const char *address, int fd, const struct buf *bytes)
{
    for (size_t at = 0; at < bytes->len;) {
        ssize_t sent = send(fd, bytes->data + at, bytes->len - at, MSG_NOSIGNAL);
        if (sent == -1)
            return complain(address, strerror(errno));
        at += (size_t)sent;
    }
    return 0;
}

static int read_answer(const char *address, int fd, char *room, struct fcgi_answer *answer)
{
    static unsigned char bytes[MAX_ANSWER];
    enum fcgi_answered found = FCGI_ANSWER_MORE;
    size_t len = 0;

    while (found == FCGI_ANSWER_MORE && len < sizeof bytes) {
        ssize_t got = read(fd, bytes + len, sizeof bytes - len);
        if (got == -1)
            return complain(address, strerror(errno));
        if (got == 0)
            return complain(address, "no answer: the connection was closed");
        len += (size_t)got;
        found = fcgi_client_read(bytes, len, room, answer);
    }
    return found == FCGI_ANSWER_WHOLE ? 0 : complain(address, "what came is no answer");
}

/* A child of `ctx`; NULL: it has been said why not. */
static char *find_uri(TALLOC_CTX *ctx, const char *file, enum question question)
{
    const struct application *app;
    struct config_error error;

    if (application_load(ctx, file, &app, &error) == -1) {
        fprintf(stderr, "%s:%d: %s\n", error.file, error.line, error.text);
        return NULL;
    }
    const char *path = question == ASK_READY ? app->ready_path : app->config->settings.health_path;
    if (path[0] == '\0') {
        complain(file, question == ASK_READY ? "ready_path is off, or a route has it"
                                             : "health_path is off");
        return NULL;
    }
    return mem_check(talloc_asprintf(ctx, "%s%s", app->config->settings.mount, path));
}

/* What health_path and ready_path answer, from whatever release; others may listen there. */
static bool is_leeways(const struct fcgi_answer *answer)
{
    static const char begin[] = "{\"status\":\"";

    return answer->body_len >= sizeof begin - 1 &&
           memcmp(answer->body, begin, sizeof begin - 1) == 0;
}

static enum ask_exit judge(const char *address, const struct fcgi_answer *answer)
{
    if (answer->status == 200 && !is_leeways(answer)) {
        complain(address, "what came is no answer of leeway's");
        return ASK_UNANSWERED;
    }
    fwrite(answer->body, 1, answer->body_len, stdout);
    return answer->status == 200 ? ASK_WELL : ASK_NOT_WELL;
}

static enum ask_exit ask(const char *address, const char *uri)
{
    static char room[MAX_ANSWER];
    enum ask_exit status = ASK_UNANSWERED;
    struct fcgi_answer answer;
    struct buf question;
    int fd = connect_to(address);

    if (fd == -1)
        return status;
    buf_init(&question, NULL, 1024);
    fcgi_client_ask(&question, uri);
    if (send_all(address, fd, &question) == 0 && read_answer(address, fd, room, &answer) == 0)
        status = judge(address, &answer);
    talloc_free(question.data);
    close(fd);
    return status;
}

enum ask_exit ask_pool(const char *file, const char *address, enum question question)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    enum ask_exit status = ASK_UNANSWERED;
    char *uri;

    if (address == NULL)
        complain("--ready and --health", "-s ADDRESS says whom to ask");
    else if ((uri = find_uri(ctx, file, question)) != NULL) {
        snprintf(no_answer, sizeof no_answer, "leeway-worker: %s: no answer within %d s\n", address,
                 PATIENCE_S);
        signal(SIGALRM, on_alarm);
        unblock_alarm();
        alarm(PATIENCE_S);
        status = ask(address, uri);
        alarm(0);
    }
    talloc_free(ctx);
    return status;
}
