/* SPDX-License-Identifier: BSD-2-Clause */
/* Parses commands, looks their answers up, writes. */
#include "config.h"

#include "redis_script.h"

#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"

enum { MAX_PEERS = 16, MAX_RULES = 32, MAX_PARTS = 16 };

struct peer {
    struct script *script;
    int fd; /* -1: none */
    struct buf in;
    ev_io readable;
};

struct rule {
    char command[16];
    const char *reply; /* NULL: as at first */
    int count;
    struct peer *peer; /* that it came from last */
};

struct script {
    struct ev_loop *loop;
    char directory[32];
    char path[64];
    char address[80];
    int listener;
    ev_io acceptable;
    struct peer peers[MAX_PEERS];
    struct rule rules[MAX_RULES];
    size_t n_rules;
    struct buf heard;
    int reads;
    bool paused;
};

static struct rule *rule_of(struct script *script, const char *command)
{
    for (size_t i = 0; i < script->n_rules; i++)
        if (strcmp(script->rules[i].command, command) == 0)
            return &script->rules[i];
    assert_true(script->n_rules < MAX_RULES);
    struct rule *rule = &script->rules[script->n_rules++];
    *rule = (struct rule){0};
    snprintf(rule->command, sizeof rule->command, "%s", command);
    return rule;
}

static void close_peer(struct peer *peer)
{
    if (peer->fd == -1)
        return;
    ev_io_stop(peer->script->loop, &peer->readable);
    close(peer->fd);
    peer->fd = -1;
    buf_clear(&peer->in);
}

static void say(struct peer *peer, const char *bytes, size_t len)
{
    while (peer->fd != -1 && len > 0) {
        ssize_t sent = send(peer->fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        len -= (size_t)sent;
    }
}

/* As Redis does. */
static const char *usual_reply(TALLOC_CTX *ctx, const char *command)
{
    static const char info[] = "# Server\r\nredis_version:7.0.15\r\nrun_id:first\r\n";
    struct timeval now;

    if (strcmp(command, "HELLO") == 0)
        return "*8\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n"
               "$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";
    if (strcmp(command, "GETRANGE") == 0)
        return "$0\r\n\r\n";
    if (strcmp(command, "INFO") == 0)
        return talloc_asprintf(ctx, "$%zu\r\n%s\r\n", sizeof info - 1, info);
    if (strcmp(command, "TIME") != 0)
        return "+OK\r\n";
    gettimeofday(&now, NULL);
    return talloc_asprintf(ctx, "*2\r\n$10\r\n%010ld\r\n$6\r\n%06ld\r\n", (long)now.tv_sec,
                           (long)now.tv_usec);
}

static void answer(struct peer *peer, char *const *parts, size_t count)
{
    struct script *script = peer->script;
    struct rule *rule = rule_of(script, parts[0]);
    TALLOC_CTX *ctx = talloc_new(NULL);
    const char *reply = rule->reply;

    rule->count++;
    rule->peer = peer;
    buf_append_str(&script->heard, " [");
    for (size_t i = 0; i < count; i++)
        buf_printf(&script->heard, "%s%.40s", i > 0 ? " " : "", parts[i]);
    buf_append_char(&script->heard, ']');
    if (reply == NULL)
        reply = usual_reply(ctx, parts[0]);
    const char *end = strstr(reply, SCRIPT_CLOSES);
    say(peer, reply, end != NULL ? (size_t)(end - reply) : strlen(reply));
    if (end != NULL)
        close_peer(peer);
    talloc_free(ctx);
}

/* Takes "*N\r\n$L\r\n...\r\n" apart; 0: it is not all there. */
static size_t parse(TALLOC_CTX *ctx, const char *bytes, size_t len, char **parts, size_t *count)
{
    const char *at = bytes, *end = bytes + len;

    *count = 0;
    if (memchr(at, '\n', (size_t)(end - at)) == NULL)
        return 0;
    size_t n = strtoul(at + 1, NULL, 10);
    assert_true(at[0] == '*' && n >= 1 && n <= MAX_PARTS);
    at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
    for (size_t i = 0; i < n; i++) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        if (line == NULL)
            return 0;
        size_t size = strtoul(at + 1, NULL, 10);
        assert_true(at[0] == '$');
        if ((size_t)(end - line) < size + 3)
            return 0;
        parts[(*count)++] = talloc_strndup(ctx, line + 1, size);
        assert_memory_equal(line + 1 + size, "\r\n", 2);
        at = line + 1 + size + 2;
    }
    return (size_t)(at - bytes);
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct peer *peer = watcher->data;
    static char room[256 * 1024];
    ssize_t got = recv(peer->fd, room, sizeof room, 0);
    size_t taken, at = 0;

    (void)loop;
    (void)events;
    if (got <= 0) {
        close_peer(peer);
        return;
    }
    peer->script->reads++;
    buf_append(&peer->in, room, (size_t)got);
    do {
        TALLOC_CTX *ctx = talloc_new(NULL);
        char *parts[MAX_PARTS];
        size_t count;
        taken = parse(ctx, peer->in.data + at, peer->in.len - at, parts, &count);
        at += taken;
        if (taken > 0)
            answer(peer, parts, count);
        talloc_free(ctx);
    } while (taken > 0 && peer->fd != -1);
    if (peer->fd != -1)
        buf_consume(&peer->in, at);
}

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct script *script = watcher->data;
    int fd = accept4(script->listener, NULL, NULL, SOCK_CLOEXEC);

    (void)events;
    assert_true(fd != -1);
    for (size_t i = 0; i < MAX_PEERS; i++) {
        struct peer *peer = &script->peers[i];
        if (peer->fd != -1)
            continue;
        peer->fd = fd;
        ev_io_init(&peer->readable, on_readable, fd, EV_READ);
        peer->readable.data = peer;
        if (!script->paused)
            ev_io_start(loop, &peer->readable);
        return;
    }
    fail_msg("too many connections");
}

void script_stop_listening(struct script *script)
{
    if (script->listener == -1)
        return;
    ev_io_stop(script->loop, &script->acceptable);
    close(script->listener);
    unlink(script->path);
    script->listener = -1;
}

void script_listen(struct script *script)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strncpy(address.sun_path, script->path, sizeof address.sun_path - 1);
    script->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(script->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(script->listener, 16), 0);
    ev_io_init(&script->acceptable, on_acceptable, script->listener, EV_READ);
    script->acceptable.data = script;
    ev_io_start(script->loop, &script->acceptable);
}

static int destroy(struct script *script)
{
    script_close_all(script);
    script_stop_listening(script);
    rmdir(script->directory);
    return 0;
}

struct script *script_new(TALLOC_CTX *ctx, struct ev_loop *loop)
{
    struct script *script = talloc_zero(ctx, struct script);

    script->loop = loop;
    strcpy(script->directory, "/tmp/leeway-redis-XXXXXX");
    assert_non_null(mkdtemp(script->directory));
    snprintf(script->path, sizeof script->path, "%s/s", script->directory);
    snprintf(script->address, sizeof script->address, "unix:%s", script->path);
    buf_init(&script->heard, script, 1);
    for (size_t i = 0; i < MAX_PEERS; i++) {
        script->peers[i].script = script;
        script->peers[i].fd = -1;
        buf_init(&script->peers[i].in, script, 0);
    }
    script_listen(script);
    talloc_set_destructor(script, destroy);
    return script;
}

const char *script_address(const struct script *script)
{
    return script->address;
}

void script_answer(struct script *script, const char *command, const char *reply)
{
    rule_of(script, command)->reply = reply;
}

void script_say(struct script *script, const char *command, const char *bytes, size_t len)
{
    struct peer *peer = rule_of(script, command)->peer;

    assert_non_null(peer);
    say(peer, bytes, len);
}

int script_count(const struct script *script, const char *command)
{
    for (size_t i = 0; i < script->n_rules; i++)
        if (strcmp(script->rules[i].command, command) == 0)
            return script->rules[i].count;
    return 0;
}

const char *script_heard(const struct script *script)
{
    return script->heard.data;
}

void script_forget(struct script *script)
{
    buf_clear(&script->heard);
    script->reads = 0;
}

int script_connections(const struct script *script)
{
    int count = 0;

    for (size_t i = 0; i < MAX_PEERS; i++)
        count += script->peers[i].fd != -1;
    return count;
}

int script_reads(const struct script *script)
{
    return script->reads;
}

void script_close_all(struct script *script)
{
    for (size_t i = 0; i < MAX_PEERS; i++)
        close_peer(&script->peers[i]);
}

void script_pause(struct script *script, bool paused)
{
    script->paused = paused;
    for (size_t i = 0; i < MAX_PEERS; i++) {
        if (script->peers[i].fd == -1)
            continue;
        if (paused)
            ev_io_stop(script->loop, &script->peers[i].readable);
        else
            ev_io_start(script->loop, &script->peers[i].readable);
    }
}
