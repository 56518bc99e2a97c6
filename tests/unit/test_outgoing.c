/* SPDX-License-Identifier: BSD-2-Clause */
/* A long answer goes out in parts no longer than was said, however much the socket would take. */
#include "config.h"

#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/outgoing.h"

enum { LONG = 300000 };

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
}

/* What has come since the last time. */
static size_t drain(int fd, struct buf *out)
{
    char bytes[65536];
    size_t before = out->len;
    ssize_t got;

    while ((got = read(fd, bytes, sizeof bytes)) > 0)
        buf_append(out, bytes, (size_t)got);
    return out->len - before;
}

static void send_all(const struct answer_bytes *bytes, size_t limit, struct buf *out)
{
    struct outgoing outgoing = {.written = 0};
    int fds[2], sent = 0;

    make_pair(fds);
    outgoing_begin(&outgoing, 1, bytes);
    while (sent == 0) {
        sent = outgoing_send(&outgoing, fds[0], limit);
        size_t came = drain(fds[1], out);
        check(came > 0 && came <= limit, "%zu bytes of %zu", came, limit);
    }
    assert_int_equal(sent, 1);
    assert_int_equal(out->len, fcgi_frame_length(&outgoing.frame));
    close(fds[0]);
    close(fds[1]);
}

static void test_parts(void **state)
{
    static const size_t limits[] = {1, 100, 65536, 65535, 131072};
    TALLOC_CTX *ctx = talloc_new(NULL);
    char *body = mem_check(talloc_array(ctx, char, LONG));
    struct answer_bytes bytes = {.head = "Status: 200 OK\r\n\r\n", .head_len = 18};

    (void)state;
    for (size_t i = 0; i < LONG; i++)
        body[i] = (char)(i * 31 + i / 251);
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct buf flat, in_chunks;
        buf_init(&flat, ctx, 0);
        buf_init(&in_chunks, ctx, 0);
        bytes.body_len = limits[i] < 100 ? 3000 : LONG;
        bytes.body = body;
        bytes.chunks = NULL;
        send_all(&bytes, limits[i], &flat);
        bytes.body = NULL;
        bytes.chunks = chunks_new(ctx);
        chunks_append(bytes.chunks, body, bytes.body_len);
        send_all(&bytes, limits[i], &in_chunks);
        assert_int_equal(flat.len, in_chunks.len);
        assert_memory_equal(flat.data, in_chunks.data, flat.len);
    }
    talloc_free(ctx);
}

/* Who does not take it is not sent more, and who has left is known to have. */
static void test_a_client_that_takes_nothing(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct chunks *chunks = chunks_new(ctx);
    char *body = mem_check(talloc_zero_array(ctx, char, 4 * 1024 * 1024));
    struct outgoing outgoing = {.written = 0};
    uint64_t before = 1;
    int fds[2];

    (void)state;
    make_pair(fds);
    chunks_append(chunks, body, 4 * 1024 * 1024);
    const struct answer_bytes bytes = {.head = "Status: 200 OK\r\n\r\n",
                                       .head_len = 18,
                                       .chunks = chunks,
                                       .body_len = chunks_length(chunks)};
    outgoing_begin(&outgoing, 1, &bytes);
    while (before != outgoing.written) {
        before = outgoing.written;
        assert_int_equal(outgoing_send(&outgoing, fds[0], 65536), 0);
    }
    assert_true(outgoing.written > 0 && outgoing.written < bytes.body_len);
    close(fds[1]);
    assert_int_equal(outgoing_send(&outgoing, fds[0], 65536), -1);
    close(fds[0]);
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_a_client_that_takes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
