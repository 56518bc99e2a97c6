/* SPDX-License-Identifier: BSD-2-Clause */
/* FastCGI records: requests judged at every length, management replies, framing that is
   resumed anywhere. */
#include "config.h"

#include "unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/fcgi_record.h"

/* What a record is written down as in the tables below; {0} ends a request. */
struct record {
    int type;
    int id;
    const char *content;
    size_t len;
    int padding;
    int version; /* 0: 1 */
};

#define BYTES(literal) (literal), sizeof(literal) - 1
#define BEGIN                                                                                      \
    {                                                                                              \
        1, 1, BYTES("\0\1\0\0\0\0\0\0"), 0, 0                                                      \
    }
#define BEGIN_KEPT                                                                                 \
    {                                                                                              \
        1, 1, BYTES("\0\1\1\0\0\0\0\0"), 0, 0                                                      \
    }
#define PARAMS(literal)                                                                            \
    {                                                                                              \
        4, 1, BYTES(literal), 0, 0                                                                 \
    }
#define NO_MORE_PARAMS                                                                             \
    {                                                                                              \
        4, 1, BYTES(""), 0, 0                                                                      \
    }
#define STDIN(literal)                                                                             \
    {                                                                                              \
        5, 1, BYTES(literal), 0, 0                                                                 \
    }
#define NO_MORE_STDIN                                                                              \
    {                                                                                              \
        5, 1, BYTES(""), 0, 0                                                                      \
    }
#define ABORT                                                                                      \
    {                                                                                              \
        2, 1, BYTES(""), 0, 0                                                                      \
    }
#define PAIR                                                                                       \
    "\x01\x02"                                                                                     \
    "abc"
#define LONG_PAIR                                                                                  \
    "\x80\x00\x00\x01\x80\x00\x00\x02"                                                             \
    "abc"

enum { MAX_RECORDS = 8 };

static const struct fcgi_limits limits = {65536, 65536};

static void put_record(struct buf *out, const struct record *record)
{
    const unsigned char header[8] = {
        (unsigned char)(record->version != 0 ? record->version : 1),
        (unsigned char)record->type,
        (unsigned char)(record->id >> 8),
        (unsigned char)record->id,
        (unsigned char)(record->len >> 8),
        (unsigned char)record->len,
        (unsigned char)record->padding,
        0,
    };

    buf_append(out, header, sizeof header);
    buf_append(out, record->content, record->len);
    for (int i = 0; i < record->padding; i++)
        buf_append_char(out, '\0');
}

static void put_records(struct buf *out, const struct record *records)
{
    for (int i = 0; i < MAX_RECORDS && records[i].content != NULL; i++)
        put_record(out, &records[i]);
}

/* The bytes in memory of exactly that length, so that reading behind them is seen. */
static struct fcgi_verdict judge(const char *bytes, size_t len, const struct fcgi_limits *by)
{
    struct fcgi_verdict verdict;
    unsigned char *copy = mem_check(talloc_memdup(NULL, bytes, len > 0 ? len : 1));

    fcgi_check(len > 0 ? copy : copy + 1, len, by, &verdict);
    talloc_free(copy);
    return verdict;
}

struct request_case {
    const char *what;
    enum fcgi_state state;
    bool keep;
    size_t known_at; /* how many bytes it takes to tell; 0: all of them */
    struct record records[MAX_RECORDS];
};

static const struct request_case requests[] = {
    {"no parameters", FCGI_CHECK_WHOLE, false, 0, {BEGIN, NO_MORE_PARAMS, NO_MORE_STDIN}},
    {"kept", FCGI_CHECK_WHOLE, true, 0, {BEGIN_KEPT, NO_MORE_PARAMS, NO_MORE_STDIN}},
    {"one pair", FCGI_CHECK_WHOLE, false, 0, {BEGIN, PARAMS(PAIR), NO_MORE_PARAMS, NO_MORE_STDIN}},
    {"long lengths",
     FCGI_CHECK_WHOLE,
     false,
     0,
     {BEGIN, PARAMS(LONG_PAIR PAIR), NO_MORE_PARAMS, NO_MORE_STDIN}},
    {"empty name and value",
     FCGI_CHECK_WHOLE,
     false,
     0,
     {BEGIN, PARAMS("\0\0\0\0"), NO_MORE_PARAMS, NO_MORE_STDIN}},
    {"cut within a long length",
     FCGI_CHECK_WHOLE,
     false,
     0,
     {BEGIN, PARAMS("\x01\x80\x00"),
      PARAMS("\x00\x02"
             "a"),
      PARAMS("bc" PAIR), NO_MORE_PARAMS, NO_MORE_STDIN}},
    {"a body",
     FCGI_CHECK_WHOLE,
     false,
     0,
     {BEGIN, PARAMS(PAIR), NO_MORE_PARAMS, STDIN("body"), STDIN("more"), NO_MORE_STDIN}},
    {"padding everywhere",
     FCGI_CHECK_WHOLE,
     false,
     0,
     {{1, 258, BYTES("\0\1\0\0\0\0\0\0"), 7, 0},
      {4, 258, BYTES(PAIR), 255, 0},
      {4, 258, BYTES(""), 8, 0},
      {5, 258, BYTES("b"), 1, 0},
      {5, 258, BYTES(""), 3, 0}}},
    {"values asked for",
     FCGI_CHECK_MANAGEMENT,
     false,
     0,
     {{9, 0, BYTES("\x0e\0FCGI_MAX_CONNS"), 6, 0}}},
    {"unknown management", FCGI_CHECK_MANAGEMENT, false, 0, {{200, 0, BYTES("?"), 7, 0}}},
    {"aborted in its parameters", FCGI_CHECK_ABORT, false, 0, {BEGIN, PARAMS(PAIR), ABORT}},
    {"aborted in its body",
     FCGI_CHECK_ABORT,
     true,
     0,
     {BEGIN_KEPT, NO_MORE_PARAMS, STDIN("x"), ABORT}},
    {"aborted before or after", FCGI_CHECK_ABORT, false, 0, {ABORT}},
    {"wrong version", FCGI_CHECK_BAD, false, 1, {{1, 1, BYTES("\0\1\0\0\0\0\0\0"), 0, 2}}},
    {"wrong version later", FCGI_CHECK_BAD, false, 17, {BEGIN, {4, 1, BYTES(""), 0, 3}}},
    {"parameters first", FCGI_CHECK_BAD, false, 2, {PARAMS(PAIR)}},
    {"stdin first", FCGI_CHECK_BAD, false, 2, {NO_MORE_STDIN}},
    {"stdout from the server", FCGI_CHECK_BAD, false, 2, {{6, 1, BYTES("x"), 0, 0}}},
    {"begun with id 0", FCGI_CHECK_BAD, false, 4, {{1, 0, BYTES("\0\1\0\0\0\0\0\0"), 0, 0}}},
    {"aborted with id 0", FCGI_CHECK_BAD, false, 4, {{2, 0, BYTES(""), 0, 0}}},
    {"aborted with content", FCGI_CHECK_BAD, false, 6, {{2, 1, BYTES("x"), 0, 0}}},
    {"management with an id", FCGI_CHECK_BAD, false, 4, {{9, 1, BYTES(""), 0, 0}}},
    {"short begin", FCGI_CHECK_BAD, false, 6, {{1, 1, BYTES("\0\1\0\0"), 0, 0}}},
    {"long begin", FCGI_CHECK_BAD, false, 6, {{1, 1, BYTES("\0\1\0\0\0\0\0\0\0"), 0, 0}}},
    {"an authorizer", FCGI_CHECK_BAD, false, 16, {{1, 1, BYTES("\0\2\0\0\0\0\0\0"), 0, 0}}},
    {"a filter", FCGI_CHECK_BAD, false, 16, {{1, 1, BYTES("\0\3\0\0\0\0\0\0"), 0, 0}}},
    {"role 257", FCGI_CHECK_BAD, false, 16, {{1, 1, BYTES("\1\1\0\0\0\0\0\0"), 0, 0}}},
    {"begun twice", FCGI_CHECK_BAD, false, 18, {BEGIN, BEGIN}},
    {"parameters of another id", FCGI_CHECK_BAD, false, 20, {BEGIN, {4, 2, BYTES(PAIR), 0, 0}}},
    {"another request aborted", FCGI_CHECK_BAD, false, 20, {BEGIN, {2, 2, BYTES(""), 0, 0}}},
    {"management within", FCGI_CHECK_BAD, false, 18, {BEGIN, {9, 0, BYTES(""), 0, 0}}},
    {"stdin before the parameters end", FCGI_CHECK_BAD, false, 18, {BEGIN, NO_MORE_STDIN}},
    {"parameters after their end",
     FCGI_CHECK_BAD,
     false,
     26,
     {BEGIN, NO_MORE_PARAMS, PARAMS(PAIR)}},
    {"data of a filter",
     FCGI_CHECK_BAD,
     false,
     26,
     {BEGIN, NO_MORE_PARAMS, {8, 1, BYTES("x"), 0, 0}}},
    {"a name without its value's length",
     FCGI_CHECK_BAD,
     false,
     0,
     {BEGIN, PARAMS("\x01"), NO_MORE_PARAMS}},
    {"half a long length",
     FCGI_CHECK_BAD,
     false,
     0,
     {BEGIN, PARAMS("\x01\x80\x00"), NO_MORE_PARAMS}},
    {"half a name's long length",
     FCGI_CHECK_BAD,
     false,
     0,
     {BEGIN, PARAMS(PAIR "\x80\x00"), NO_MORE_PARAMS}},
    {"a value cut off",
     FCGI_CHECK_BAD,
     false,
     0,
     {BEGIN,
      PARAMS("\x01\x03"
             "abc"),
      NO_MORE_PARAMS}},
    {"a name cut off",
     FCGI_CHECK_BAD,
     false,
     0,
     {BEGIN,
      PARAMS(PAIR "\x05\x00"
                  "abcd"),
      NO_MORE_PARAMS}},
    {"lengths whose sum is 2^31",
     FCGI_CHECK_BAD,
     false,
     0,
     {BEGIN, PARAMS("\xc0\x00\x00\x00\xc0\x00\x00\x00"), NO_MORE_PARAMS}},
    {"lengths whose sum is 2^32 - 2",
     FCGI_CHECK_BAD,
     false,
     0,
     {BEGIN,
      PARAMS("\xff\xff\xff\xff\xff\xff\xff\xff"
             "abc"),
      NO_MORE_PARAMS}},
};

/* Before all of it is there, MORE; from the byte that tells, one and the same verdict,
   whatever follows. */
static void test_requests_at_every_length(void **state)
{
    static const char behind[] = "\x01\x01\0\1\0\x08\0\0\0\1\0\0\0\0\0\0garbage";

    (void)state;
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        const struct request_case *c = &requests[i];
        TALLOC_CTX *ctx = talloc_new(NULL);
        struct buf bytes;
        buf_init(&bytes, ctx, 0);
        put_records(&bytes, c->records);
        size_t whole = bytes.len;
        size_t known_at = c->known_at > 0 ? c->known_at : whole;
        buf_append(&bytes, behind, sizeof behind);
        for (size_t len = 0; len <= bytes.len; len++) {
            struct fcgi_verdict verdict = judge(bytes.data, len, &limits);
            enum fcgi_state expected = len < known_at ? FCGI_CHECK_MORE : c->state;
            check(verdict.state == expected, "%s: %s after %zu bytes of %zu", c->what,
                  fcgi_state_name(verdict.state), len, whole);
            if (len < known_at || c->state == FCGI_CHECK_BAD)
                continue;
            check(verdict.length == whole, "%s: %zu", c->what, verdict.length);
            check(verdict.id == c->records[0].id, "%s: id %d", c->what, verdict.id);
            check(verdict.keep == c->keep, "%s", c->what);
        }
        talloc_free(ctx);
    }
}

static void test_garbage(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first++) {
        char byte = (char)first;
        struct fcgi_verdict verdict = judge(&byte, 1, &limits);
        check(verdict.state == (first == 1 ? FCGI_CHECK_MORE : FCGI_CHECK_BAD), "byte %d", first);
    }
    assert_int_equal(judge("GET / HTTP/1.1\r\n\r\n", 18, &limits).state, FCGI_CHECK_BAD);
    assert_int_equal(judge("", 0, &limits).state, FCGI_CHECK_MORE);
}

/* Padding and headers count, the empty record does not. */
static void test_limits(void **state)
{
    static const struct {
        uint64_t max_params;
        uint64_t max_stdin;
        enum fcgi_state state;
        size_t known_at;
    } cases[] = {
        {8 + 5 + 3 + 8 + 11, 8 + 4 + 4, FCGI_CHECK_WHOLE, 0},
        {8 + 5 + 3 + 8 + 10, 8 + 4 + 4, FCGI_CHECK_PARAMS_TOO_LARGE, 16 + 16 + 8},
        {8 + 5 + 2, 8 + 4 + 4, FCGI_CHECK_PARAMS_TOO_LARGE, 16 + 8},
        {0, 0, FCGI_CHECK_PARAMS_TOO_LARGE, 16 + 8},
        {100, 8 + 4 + 3, FCGI_CHECK_STDIN_TOO_LARGE, 16 + 16 + 19 + 8 + 255 + 8},
        {100, 0, FCGI_CHECK_STDIN_TOO_LARGE, 16 + 16 + 19 + 8 + 255 + 8},
    };
    static const struct record records[MAX_RECORDS] = {
        BEGIN_KEPT,
        {4, 1, BYTES(PAIR), 3, 0},
        {4, 1, BYTES(LONG_PAIR), 0, 0},
        {4, 1, BYTES(""), 255, 0},
        {5, 1, BYTES("body"), 4, 0},
        {5, 1, BYTES(""), 255, 0},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct buf bytes;

    (void)state;
    buf_init(&bytes, ctx, 0);
    put_records(&bytes, records);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct fcgi_limits by = {cases[i].max_params, cases[i].max_stdin};
        size_t known_at = cases[i].known_at > 0 ? cases[i].known_at : bytes.len;
        check(judge(bytes.data, known_at - 1, &by).state == FCGI_CHECK_MORE, "case %zu", i);
        for (size_t len = known_at; len <= bytes.len; len++) {
            struct fcgi_verdict verdict = judge(bytes.data, len, &by);
            check(verdict.state == cases[i].state, "case %zu: %s after %zu", i,
                  fcgi_state_name(verdict.state), len);
            check(verdict.id == 1 && verdict.keep, "case %zu", i);
            if (verdict.state != FCGI_CHECK_WHOLE)
                check(verdict.length == (verdict.state == FCGI_CHECK_PARAMS_TOO_LARGE
                                             ? 16
                                             : 16 + 16 + 19 + 8 + 255),
                      "case %zu: %zu", i, verdict.length);
        }
    }
    talloc_free(ctx);
}

struct rest_case {
    const char *what;
    enum fcgi_rest_state state;
    size_t known_at; /* how many bytes it takes to tell; 0: all of them */
    bool in_stdin;   /* where it begins */
    struct record records[MAX_RECORDS];
};

static const struct rest_case rests[] = {
    {"a body", FCGI_REST_END, 0, true, {STDIN("body"), STDIN("more"), NO_MORE_STDIN}},
    {"nothing but the end", FCGI_REST_END, 0, true, {NO_MORE_STDIN}},
    {"parameters",
     FCGI_REST_END,
     0,
     false,
     {PARAMS("whatever"), PARAMS("\xff"), NO_MORE_PARAMS, NO_MORE_STDIN}},
    {"parameters and a body",
     FCGI_REST_END,
     0,
     false,
     {PARAMS("whatever"), NO_MORE_PARAMS, STDIN("body"), NO_MORE_STDIN}},
    {"padding everywhere",
     FCGI_REST_END,
     0,
     false,
     {{4, 1, BYTES("p"), 255, 0},
      {4, 1, BYTES(""), 8, 0},
      {5, 1, BYTES("b"), 1, 0},
      {5, 1, BYTES(""), 3, 0}}},
    {"records within a body",
     FCGI_REST_END,
     0,
     true,
     {STDIN("\x01\x05\0\x01\0\0\0\0\x01\x01\0\x01\0\x08\0\0"), NO_MORE_STDIN}},
    {"aborted in its parameters", FCGI_REST_ABORT, 0, false, {PARAMS("x"), ABORT}},
    {"aborted in its body", FCGI_REST_ABORT, 0, true, {STDIN("x"), {2, 1, BYTES(""), 7, 0}}},
    {"the next request too early", FCGI_REST_BAD, 10 + 2, true, {STDIN("xy"), BEGIN}},
    {"a body too early", FCGI_REST_BAD, 9 + 2, false, {PARAMS("x"), STDIN("x")}},
    {"parameters too late", FCGI_REST_BAD, 2, true, {PARAMS("x")}},
    {"another request's", FCGI_REST_BAD, 9 + 4, true, {STDIN("x"), {5, 2, BYTES("x"), 0, 0}}},
    {"management", FCGI_REST_BAD, 2, true, {{9, 0, BYTES(""), 0, 0}}},
    {"another version", FCGI_REST_BAD, 1, true, {{5, 1, BYTES(""), 0, 2}}},
    {"an abort with content", FCGI_REST_BAD, 6, true, {{2, 1, BYTES("x"), 0, 0}}},
};

/* In pieces of `size` bytes. *passed: of all of them together. */
static enum fcgi_rest_state pass_in_pieces(bool in_stdin, const char *bytes, size_t len,
                                           size_t size, size_t *passed)
{
    const struct fcgi_verdict verdict = {
        .state = in_stdin ? FCGI_CHECK_STDIN_TOO_LARGE : FCGI_CHECK_PARAMS_TOO_LARGE,
        .id = 1,
    };
    enum fcgi_rest_state state = FCGI_REST_MORE;
    struct fcgi_rest rest;

    fcgi_rest_begin(&rest, &verdict);
    for (*passed = 0; state == FCGI_REST_MORE && *passed < len;) {
        size_t piece = len - *passed < size ? len - *passed : size, some;
        unsigned char *copy = mem_check(talloc_memdup(NULL, bytes + *passed, piece));
        state = fcgi_rest_pass(&rest, copy, piece, &some);
        check(some <= piece && (state != FCGI_REST_MORE || some == piece), "%zu of %zu", some,
              piece);
        *passed += some;
        talloc_free(copy);
    }
    return state;
}

/* Up to the byte that tells, MORE; and what follows is left for the next request. */
static void test_rests_at_every_length(void **state)
{
    static const char behind[] = "\x01\x01\0\1\0\x08\0\0\0\1\0\0\0\0\0\0garbage";

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rests); i++) {
        const struct rest_case *c = &rests[i];
        TALLOC_CTX *ctx = talloc_new(NULL);
        struct buf bytes;
        size_t passed;
        buf_init(&bytes, ctx, 0);
        put_records(&bytes, c->records);
        size_t known_at = c->known_at > 0 ? c->known_at : bytes.len;
        buf_append(&bytes, behind, sizeof behind);
        for (size_t len = 0; len <= bytes.len; len++) {
            for (size_t size = 1; size <= len; size++) {
                enum fcgi_rest_state seen =
                    pass_in_pieces(c->in_stdin, bytes.data, len, size, &passed);
                check(seen == (len < known_at ? FCGI_REST_MORE : c->state),
                      "%s: %d after %zu bytes by %zu", c->what, seen, len, size);
                check(passed == (len < known_at ? len : known_at), "%s: %zu", c->what, passed);
            }
        }
        talloc_free(ctx);
    }
}

static void test_the_end_of_a_body_that_is_left_out(void **state)
{
    unsigned char end[FCGI_STDIN_END_BYTES];

    (void)state;
    fcgi_stdin_end(258, end);
    assert_memory_equal(end, "\x01\x05\x01\x02\0\0\0\0", sizeof end);
}

/* Three thousand parameters over many records, and one of 64 KiB. */
static void test_large_requests(void **state)
{
    static const struct fcgi_limits wide = {UINT64_C(1) << 40, 0};
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct record record = {4, 1, NULL, 0, 0, 0};
    struct buf pairs, bytes;

    (void)state;
    buf_init(&pairs, ctx, 0);
    for (int i = 0; i < 3000; i++)
        buf_printf(&pairs, "%c%cNAME_%04dvalue", 9, 5, i);
    buf_append(&pairs, "\x01\x80\x01\x00\x00N", 6);
    for (int i = 0; i < 65536; i++)
        buf_append_char(&pairs, 'v');

    for (size_t size = 1; size <= 65535; size = size * 3 + 1) {
        buf_init(&bytes, ctx, 0);
        put_record(&bytes, &(const struct record)BEGIN);
        for (size_t at = 0; at < pairs.len; at += size) {
            record.content = pairs.data + at;
            record.len = pairs.len - at < size ? pairs.len - at : size;
            put_record(&bytes, &record);
        }
        put_record(&bytes, &(const struct record)NO_MORE_PARAMS);
        put_record(&bytes, &(const struct record)NO_MORE_STDIN);
        struct fcgi_verdict verdict = judge(bytes.data, bytes.len, &wide);
        check(verdict.state == FCGI_CHECK_WHOLE, "records of %zu: %s", size,
              fcgi_state_name(verdict.state));
        check(verdict.length == bytes.len, "records of %zu", size);
        check(judge(bytes.data, bytes.len, &limits).state == FCGI_CHECK_PARAMS_TOO_LARGE,
              "records of %zu", size);
        talloc_free(bytes.data);
    }
    talloc_free(ctx);
}

#define ASK_CONNS                                                                                  \
    "\x0e\x00"                                                                                     \
    "FCGI_MAX_CONNS"
#define ASK_REQS                                                                                   \
    "\x0d\x00"                                                                                     \
    "FCGI_MAX_REQS"
#define ASK_MPXS                                                                                   \
    "\x0f\x00"                                                                                     \
    "FCGI_MPXS_CONNS"

static void test_management_replies(void **state)
{
    static const struct {
        struct record asked;
        const char *reply;
        size_t len;
    } cases[] = {
        {{9, 0, BYTES(ASK_CONNS ASK_REQS ASK_MPXS), 0, 0},
         BYTES("\x01\x0a\0\0\0\x39\x07\0"
               "\x0e\x04"
               "FCGI_MAX_CONNS1024"
               "\x0d\x04"
               "FCGI_MAX_REQS1024"
               "\x0f\x01"
               "FCGI_MPXS_CONNS0"
               "\0\0\0\0\0\0\0")},
        {{9, 0, BYTES(ASK_MPXS), 0, 0},
         BYTES("\x01\x0a\0\0\0\x12\x06\0"
               "\x0f\x01"
               "FCGI_MPXS_CONNS0"
               "\0\0\0\0\0\0")},
        {{9, 0,
          BYTES(ASK_MPXS ASK_MPXS ASK_MPXS ASK_MPXS ASK_MPXS ASK_MPXS ASK_MPXS ASK_MPXS ASK_MPXS
                    ASK_MPXS ASK_MPXS ASK_MPXS),
          4, 0},
         BYTES("\x01\x0a\0\0\0\x12\x06\0"
               "\x0f\x01"
               "FCGI_MPXS_CONNS0"
               "\0\0\0\0\0\0")},
        {{9, 0, BYTES(""), 0, 0}, BYTES("\x01\x0a\0\0\0\0\0\0")},
        {{9, 0,
          BYTES("\x03\x00"
                "foo"
                "\x80\x00\x00\x0f\x80\x00\x00\x02"
                "FCGI_MPXS_CONNSxx"),
          0, 0},
         BYTES("\x01\x0a\0\0\0\x12\x06\0"
               "\x0f\x01"
               "FCGI_MPXS_CONNS0"
               "\0\0\0\0\0\0")},
        /* pairs that go beyond the record */
        {{9, 0,
          BYTES(ASK_MPXS "\x0e\x01"
                         "FCGI_MAX_CONNS"),
          0, 0},
         BYTES("\x01\x0a\0\0\0\x12\x06\0"
               "\x0f\x01"
               "FCGI_MPXS_CONNS0"
               "\0\0\0\0\0\0")},
        {{9, 0,
          BYTES("\x0f\x00"
                "FCGI_MPXS_CONN"),
          1, 0},
         BYTES("\x01\x0a\0\0\0\0\0\0")},
        {{9, 0,
          BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"
                "FCGI_MPXS_CONNS"),
          0, 0},
         BYTES("\x01\x0a\0\0\0\0\0\0")},
        {{9, 0, BYTES("\x80\x00\x00"), 0, 0}, BYTES("\x01\x0a\0\0\0\0\0\0")},
        {{9, 0, BYTES("\x0f"), 0, 0}, BYTES("\x01\x0a\0\0\0\0\0\0")},
        {{10, 0, BYTES("x"), 7, 0},
         BYTES("\x01\x0b\0\0\0\x08\0\0"
               "\x0a\0\0\0\0\0\0\0")},
        {{255, 0, BYTES(""), 0, 0},
         BYTES("\x01\x0b\0\0\0\x08\0\0"
               "\xff\0\0\0\0\0\0\0")},
        {{0, 0, BYTES(""), 0, 0},
         BYTES("\x01\x0b\0\0\0\x08\0\0"
               "\0\0\0\0\0\0\0\0")},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        unsigned char reply[FCGI_MANAGEMENT_REPLY_BYTES];
        struct buf bytes;
        buf_init(&bytes, ctx, 0);
        put_record(&bytes, &cases[i].asked);
        struct fcgi_verdict verdict = judge(bytes.data, bytes.len, &limits);
        check(verdict.state == FCGI_CHECK_MANAGEMENT, "case %zu", i);
        /* without the room that a buf has behind its bytes */
        unsigned char *record = talloc_memdup(ctx, bytes.data, bytes.len);
        size_t len = fcgi_management_reply(record, verdict.length, reply, sizeof reply);
        check(len == cases[i].len, "case %zu: %zu", i, len);
        check(memcmp(reply, cases[i].reply, len) == 0, "case %zu", i);
    }
    talloc_free(ctx);
}

/* The same response, framed by way of a copy of the whole content. */
static void frame_plainly(struct buf *out, const struct fcgi_frame *frame)
{
    struct buf content;
    struct record record = {6, frame->id, "", 0, 0, 0};
    const struct record end = {3, frame->id, BYTES("\0\0\0\0\0\0\0\0"), 0, 0};

    buf_init(&content, out->owner, 0);
    buf_append(&content, frame->head, frame->head_len);
    buf_append(&content, frame->body, frame->body_len);
    for (size_t at = 0; at < content.len; at += record.len) {
        record.content = content.data + at;
        record.len = content.len - at < 65528 ? content.len - at : 65528;
        record.padding = (int)((8 - record.len % 8) % 8);
        put_record(out, &record);
    }
    put_record(out, &(const struct record){6, frame->id, "", 0, 0, 0});
    put_record(out, &end);
    talloc_free(content.data);
}

/* Sends `expected` in pieces of up to `step` bytes, asking anew after each. */
static void check_resumed(const struct fcgi_frame *frame, const struct buf *expected, size_t from,
                          size_t step, int max_iov, size_t scratch_size)
{
    struct iovec iov[16];
    unsigned char *scratch = mem_check(talloc_array(NULL, unsigned char, scratch_size + 1));

    scratch[scratch_size] = '#';
    while (from < expected->len) {
        int count = fcgi_frame_iov(frame, from, iov, max_iov, scratch, scratch_size);
        size_t room = step;
        check(count >= 1 && count <= max_iov, "%d pieces at %zu", count, from);
        for (int i = 0; i < count && room > 0; i++) {
            size_t len = iov[i].iov_len < room ? iov[i].iov_len : room;
            check(iov[i].iov_len > 0 && iov[i].iov_len <= expected->len - from,
                  "a piece of %zu at %zu", iov[i].iov_len, from);
            check(memcmp(iov[i].iov_base, expected->data + from, len) == 0,
                  "head %zu, body %zu, at %zu", frame->head_len, frame->body_len, from);
            from += len;
            room -= len;
        }
    }
    assert_int_equal(fcgi_frame_iov(frame, from, iov, max_iov, scratch, scratch_size), 0);
    check(scratch[scratch_size] == '#', "head %zu, body %zu", frame->head_len, frame->body_len);
    talloc_free(scratch);
}

static const size_t head_sizes[] = {0, 1, 7, 8, 200, 65527, 65528, 65529, 70000};
static const size_t body_sizes[] = {0,     1,     2,     5,      8,      2048,  65328,
                                    65527, 65528, 65529, 131056, 131057, 200000};

static struct fcgi_frame make_frame(TALLOC_CTX *ctx, size_t head_len, size_t body_len)
{
    char *bytes = talloc_array(ctx, char, head_len + body_len + 1);

    for (size_t i = 0; i < head_len + body_len; i++)
        bytes[i] = (char)(i * 31 + i / 251);
    return (struct fcgi_frame){
        .id = 0x0203,
        .head = bytes,
        .head_len = head_len,
        .body = talloc_memdup(ctx, bytes + head_len, body_len),
        .body_len = body_len,
    };
}

static struct chunks *chunks_of(TALLOC_CTX *ctx, const char *bytes, size_t len)
{
    struct chunks *chunks = chunks_new(ctx);

    chunks_append(chunks, bytes, len / 3);
    chunks_append(chunks, bytes + len / 3, len - len / 3);
    assert_int_equal(chunks_length(chunks), len);
    return chunks;
}

static void check_frame(size_t head_len, size_t body_len)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct fcgi_frame frame = make_frame(ctx, head_len, body_len);
    struct buf plain;

    buf_init(&plain, ctx, 0);
    frame_plainly(&plain, &frame);
    check(fcgi_frame_length(&frame) == plain.len, "head %zu, body %zu", head_len, body_len);
    check_resumed(&frame, &plain, 0, SIZE_MAX, 16, 256);
    check_resumed(&frame, &plain, 0, SIZE_MAX, 16, FCGI_FRAME_SCRATCH_MIN);
    check_resumed(&frame, &plain, 0, SIZE_MAX, 1, FCGI_FRAME_SCRATCH_MIN);
    check_resumed(&frame, &plain, 0, 4099, 3, FCGI_FRAME_SCRATCH_MIN);
    check_resumed(&frame, &plain, 0, 65536, 2, 40);
    for (size_t from = 0; from < plain.len; from += from % 65536 < 300 ? 1 : 211)
        check_resumed(&frame, &plain, from, 13 * 65536, 16, 256);
    frame.chunks = chunks_of(ctx, frame.body, body_len);
    frame.body = NULL;
    check_resumed(&frame, &plain, 0, SIZE_MAX, 16, 256);
    check_resumed(&frame, &plain, 0, 4099, 3, FCGI_FRAME_SCRATCH_MIN);
    for (size_t from = 0; from < plain.len; from += from % 32768 < 300 ? 1 : 211)
        check_resumed(&frame, &plain, from, 13 * 65536, 16, 256);
    talloc_free(ctx);
}

static void test_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(head_sizes); i++)
        for (size_t j = 0; j < COUNT_OF(body_sizes); j++)
            check_frame(head_sizes[i], body_sizes[j]);
}

/* One byte at a time, so that every resume point of every kind of piece is met. */
static void test_frames_by_the_byte(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct fcgi_frame frame = make_frame(ctx, 61, 65528);
    struct buf plain;

    (void)state;
    buf_init(&plain, ctx, 0);
    frame_plainly(&plain, &frame);
    check_resumed(&frame, &plain, 0, 1, 4, 64);
    talloc_free(ctx);
}

/* As a web server reads it: STDOUT to its end, then END_REQUEST, aligned throughout. */
static void test_frame_as_a_server_reads_it(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct fcgi_frame frame = make_frame(ctx, 333, 150001);
    struct iovec iov[64];
    unsigned char scratch[1024];
    struct buf wire, content;
    size_t at = 0;

    (void)state;
    buf_init(&wire, ctx, 0);
    buf_init(&content, ctx, 0);
    int count = fcgi_frame_iov(&frame, 0, iov, 64, scratch, sizeof scratch);
    for (int i = 0; i < count; i++)
        buf_append(&wire, iov[i].iov_base, iov[i].iov_len);
    assert_int_equal(wire.len, fcgi_frame_length(&frame));
    for (bool ended = false; !ended;) {
        const unsigned char *header = (const unsigned char *)wire.data + at;
        size_t len = (size_t)header[4] << 8 | header[5];
        assert_memory_equal(header, "\x01\x06\x02\x03", 4);
        assert_int_equal((len + header[6]) % 8, 0);
        buf_append(&content, header + 8, len);
        at += 8 + len + header[6];
        ended = len == 0;
    }
    assert_memory_equal(wire.data + at, "\x01\x03\x02\x03\0\x08\0\0\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(at + 16, wire.len);
    assert_int_equal(content.len, 333 + 150001);
    assert_memory_equal(content.data, frame.head, 333);
    assert_memory_equal(content.data + 333, frame.body, 150001);
    talloc_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_at_every_length),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_rests_at_every_length),
        cmocka_unit_test(test_the_end_of_a_body_that_is_left_out),
        cmocka_unit_test(test_large_requests),
        cmocka_unit_test(test_management_replies),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_frames_by_the_byte),
        cmocka_unit_test(test_frame_as_a_server_reads_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
