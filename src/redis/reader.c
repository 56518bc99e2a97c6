/* SPDX-License-Identifier: BSD-2-Clause */
/* hiredis's parser, which makes our replies instead of its own. */
#include "config.h"

#include "redis/reader.h"

#include <hiredis/hiredis.h>
#include <string.h>

#include "base/mem.h"

/* Of 0.14 and of 1.0 and later. */
#ifdef HAVE_REDISREPLYOBJECTFUNCTIONS_CREATEDOUBLE
typedef size_t element_count;
#else
typedef int element_count;
#endif

enum {
    /* The parser moves what is left in its buffer after each reply: little is given to it at a
       time, except within a reply that is large. */
    SLICE_BYTES = 4 * 1024,
    LARGE_SLICE_BYTES = 64 * 1024,
    LARGE_BYTES = 16 * 1024,
    /* A buffer of up to so much is kept, instead of being grown anew, by copying, for each large
       reply. */
    KEEPS_BYTES = 2 * 1024 * 1024,
};

struct redis_reader {
    redisReader *parser;
    TALLOC_CTX *made;    /* parent of the reply that is being made */
    size_t n_elements;   /* of it, so far */
    size_t bytes;        /* fed since the last reply was complete */
    const char *problem; /* ours; NULL: the parser's */
};

static void *fail(struct redis_reader *reader, const char *problem)
{
    reader->problem = problem;
    return NULL;
}

static struct redis_reader *reader_of(const redisReadTask *task)
{
    return task->privdata;
}

static size_t depth_of(const redisReadTask *task)
{
    size_t depth = 0;

    for (const redisReadTask *parent = task->parent; parent != NULL; parent = parent->parent)
        depth++;
    return depth;
}

/* One chunk with the text in it. */
static struct redis_reply *make(const redisReadTask *task, enum redis_kind kind, const char *text,
                                size_t len)
{
    struct redis_reader *reader = reader_of(task);
    struct redis_reply *parent = task->parent != NULL ? task->parent->obj : NULL;
    struct redis_reply *reply = mem_check(talloc_named_const(
        parent != NULL ? (void *)parent : reader->made, sizeof *reply + len + 1, "redis_reply"));

    *reply = (struct redis_reply){.kind = kind, .len = len};
    if (len > 0)
        memcpy(reply->text, text, len);
    reply->text[len] = '\0';
    if (parent != NULL)
        parent->elements[task->idx] = reply;
    return reply;
}

static void *make_text(const redisReadTask *task, char *text, size_t len)
{
#ifdef REDIS_REPLY_VERB
    enum { VERB_PREFIX_BYTES = 4 }; /* "txt:" */
    if (task->type == REDIS_REPLY_VERB && len >= VERB_PREFIX_BYTES)
        return make(task, REDIS_TEXT, text + VERB_PREFIX_BYTES, len - VERB_PREFIX_BYTES);
#endif
    return make(task, task->type == REDIS_REPLY_ERROR ? REDIS_ERROR : REDIS_TEXT, text, len);
}

static void *make_array(const redisReadTask *task, element_count count)
{
    struct redis_reader *reader = reader_of(task);
    size_t n = (size_t)count;

    if (depth_of(task) >= REDIS_READER_DEPTH)
        return fail(reader, "a reply is nested too deeply");
    if (n > REDIS_READER_ELEMENTS - reader->n_elements)
        return fail(reader, "a reply has too many elements");
    reader->n_elements += n;

    struct redis_reply *reply = make(task, REDIS_ARRAY, NULL, 0);
    reply->n_elements = n;
    reply->elements = mem_check(talloc_zero_array(reply, struct redis_reply *, n));
    return reply;
}

static void *make_number(const redisReadTask *task, long long number)
{
    struct redis_reply *reply = make(task, REDIS_NUMBER, NULL, 0);

    reply->number = number;
    return reply;
}

static void *make_nil(const redisReadTask *task)
{
    return make(task, REDIS_NIL, NULL, 0);
}

#ifdef HAVE_REDISREPLYOBJECTFUNCTIONS_CREATEDOUBLE
/* Nobody asks for the third version of the protocol, but a server may speak it all the same. */
static void *make_double(const redisReadTask *task, double number, char *text, size_t len)
{
    (void)number;
    return make(task, REDIS_TEXT, text, len);
}
#endif

#ifdef HAVE_REDISREPLYOBJECTFUNCTIONS_CREATEBOOL
static void *make_bool(const redisReadTask *task, int value)
{
    return make_number(task, value);
}
#endif

static void discard(void *reply)
{
    talloc_free(reply);
}

static redisReplyObjectFunctions makers = {
    .createString = make_text,
    .createArray = make_array,
    .createInteger = make_number,
    .createNil = make_nil,
#ifdef HAVE_REDISREPLYOBJECTFUNCTIONS_CREATEDOUBLE
    .createDouble = make_double,
#endif
#ifdef HAVE_REDISREPLYOBJECTFUNCTIONS_CREATEBOOL
    .createBool = make_bool,
#endif
    .freeObject = discard,
};

static int destroy(struct redis_reader *reader)
{
    redisReaderFree(reader->parser);
    return 0;
}

struct redis_reader *redis_reader_new(TALLOC_CTX *ctx)
{
    struct redis_reader *reader = mem_check(talloc_zero(ctx, struct redis_reader));

    reader->parser = mem_check(redisReaderCreateWithFunctions(&makers));
    reader->parser->privdata = reader;
    reader->parser->maxbuf = KEEPS_BYTES;
    reader->made = mem_check(talloc_named_const(reader, 0, "replies"));
    talloc_set_destructor(reader, destroy);
    return reader;
}

size_t redis_reader_feed(struct redis_reader *reader, const char *bytes, size_t len)
{
    size_t slice = reader->bytes > LARGE_BYTES ? LARGE_SLICE_BYTES : SLICE_BYTES;

    len = len < slice ? len : slice;
    /* it fails for want of memory, or after an error that redis_reader_next tells */
    if (redisReaderFeed(reader->parser, bytes, len) != REDIS_OK &&
        reader->parser->err == REDIS_ERR_OOM && reader->problem == NULL)
        mem_check(NULL);
    reader->bytes += len;
    return len;
}

/* What is buffered and no whole element begins with its length or is one line: a line that does not
   end would be searched again with every byte that comes. */
static bool line_is_too_long(const redisReader *parser)
{
    size_t left = parser->len - parser->pos;

    return left > REDIS_READER_LINE_BYTES &&
           memchr(parser->buf + parser->pos, '\n', REDIS_READER_LINE_BYTES) == NULL;
}

int redis_reader_next(struct redis_reader *reader, TALLOC_CTX *ctx, struct redis_reply **reply)
{
    void *made = NULL;

    *reply = NULL;
    if (reader->problem != NULL || redisReaderGetReply(reader->parser, &made) != REDIS_OK)
        return -1;
    if (made != NULL) {
        reader->n_elements = 0;
        reader->bytes = 0;
        *reply = talloc_steal(ctx, made);
        return 1;
    }
    if (reader->bytes > REDIS_READER_BYTES)
        reader->problem = "a reply is too large";
    else if (line_is_too_long(reader->parser))
        reader->problem = "a line is too long";
    return reader->problem != NULL ? -1 : 0;
}

const char *redis_reader_problem(const struct redis_reader *reader)
{
    return reader->problem != NULL ? reader->problem : reader->parser->errstr;
}
