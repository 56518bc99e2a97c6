/* SPDX-License-Identifier: BSD-2-Clause */
/* A question that the worker's own checks find whole, and answers as the worker frames them. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "http/fcgi_client.h"
#include "http/fcgi_record.h"

static void test_a_question_is_a_whole_request(void **state)
{
    static const struct fcgi_limits limits = {64 * 1024, 1024};
    char long_uri[20000];

    (void)state;
    memset(long_uri, 'a', sizeof long_uri - 1);
    long_uri[0] = '/';
    long_uri[sizeof long_uri - 1] = '\0';
    const char *const uris[] = {"/", "/api/ready", long_uri};
    for (size_t i = 0; i < COUNT_OF(uris); i++) {
        struct buf question;
        struct fcgi_verdict verdict;
        buf_init(&question, NULL, 16);
        fcgi_client_ask(&question, uris[i]);
        fcgi_check((const unsigned char *)question.data, question.len, &limits, &verdict);
        check(verdict.state == FCGI_CHECK_WHOLE && verdict.length == question.len && !verdict.keep,
              "%s", fcgi_state_name(verdict.state));
        talloc_free(question.data);
    }
}

/* As a worker frames it; the number of bytes. */
static size_t frame(const char *content, unsigned char *out, size_t size)
{
    const struct fcgi_frame frame = {.id = 1, .head = content, .head_len = strlen(content)};
    unsigned char scratch[256];
    struct iovec iov[8];
    size_t len = 0;
    int count;

    while ((count = fcgi_frame_iov(&frame, len, iov, 8, scratch, sizeof scratch)) > 0)
        for (int i = 0; i < count; i++) {
            assert_true(len + iov[i].iov_len <= size);
            memcpy(out + len, iov[i].iov_base, iov[i].iov_len);
            len += iov[i].iov_len;
        }
    return len;
}

static void test_answers(void **state)
{
    static const struct {
        const char *content;
        enum fcgi_answered answered;
        int status;
        const char *body;
    } cases[] = {
        {"Status: 200 OK\r\nA: b\r\nContent-Length: 4\r\n\r\nbody", FCGI_ANSWER_WHOLE, 200, "body"},
        {"Status: 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}", FCGI_ANSWER_WHOLE, 503,
         "{}"},
        {"A: b\r\ncontent-length:0\r\nstatus:404\r\n\r\n", FCGI_ANSWER_WHOLE, 404, ""},
        {"Status: 201\r\nContent-Length: 15\r\n\r\nStatus: 500 x\r\n", FCGI_ANSWER_WHOLE, 201,
         "Status: 500 x\r\n"},
        /* no status */
        {"\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Content-Length: 0\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Content-Length: 13\r\n\r\nStatus: 200 x", FCGI_ANSWER_BAD, 0, NULL},
        {"", FCGI_ANSWER_BAD, 0, NULL},
        {"body", FCGI_ANSWER_BAD, 0, NULL},
        /* not whole, or of no length that is said */
        {"Status: 200 OK\r\nContent-Length: 4\r\n\r\nbod", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 200 OK\r\nContent-Length: 4\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 200 OK\r\nContent-Length: 4\r\n\r\nbody!", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 200 OK\r\n\r\nbody", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 200 OK\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 200 OK\r\nContent-Length: 4\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 200 OK\n\nbody", FCGI_ANSWER_BAD, 0, NULL},
        /* none that could be read, or two */
        {"Status: 200\r\nContent-Length: x\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 200\r\nContent-Length: -1\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 200\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 503\r\nStatus: 200\r\nContent-Length: 0\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 20\r\nContent-Length: 0\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: -12\r\nContent-Length: 0\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
        {"Status: 2000\r\nContent-Length: 0\r\n\r\n", FCGI_ANSWER_BAD, 0, NULL},
    };
    unsigned char bytes[512];
    char room[512];
    struct fcgi_answer answer;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len = frame(cases[i].content, bytes, sizeof bytes);
        for (size_t part = 0; part < len; part++)
            check(fcgi_client_read(bytes, part, room, &answer) == FCGI_ANSWER_MORE,
                  "case %zu, %zu bytes", i, part);
        check(fcgi_client_read(bytes, len, room, &answer) == cases[i].answered, "case %zu", i);
        if (cases[i].answered == FCGI_ANSWER_WHOLE)
            check(answer.status == cases[i].status && answer.body_len == strlen(cases[i].body) &&
                      memcmp(answer.body, cases[i].body, answer.body_len) == 0,
                  "case %zu: %d", i, answer.status);
    }
}

static void test_what_is_no_answer(void **state)
{
    static const unsigned char records[][16] = {
        {2, 3, 0, 1, 0, 8, 0, 0},                /* another version */
        {1, 3, 0, 2, 0, 8, 0, 0},                /* another request */
        {1, 9, 0, 1, 0, 8, 0, 0},                /* a kind that a server does not send */
        {1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 2}, /* overloaded */
        {1, 3, 0, 1, 0, 0, 8, 0},                /* an end that says nothing */
    };
    char room[16];
    struct fcgi_answer answer;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(records); i++)
        check(fcgi_client_read(records[i], sizeof records[i], room, &answer) == FCGI_ANSWER_BAD,
              "case %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_question_is_a_whole_request),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_what_is_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
