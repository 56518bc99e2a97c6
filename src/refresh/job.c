/* SPDX-License-Identifier: BSD-2-Clause */
/* [version, queued_ms, "route", "fingerprint", [parameter or null, ...]], written and read
   with yajl. Reading is a walk along that one shape: the first event which is not the
   next in it ends the parse, so that nothing nests and memory is bound by the input. */
#include "config.h"

#include "refresh/job.h"

#include <string.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>

#include "base/mem.h"
#include "base/utf8.h"

static void put_text(yajl_gen gen, const char *text)
{
    yajl_gen_string(gen, (const unsigned char *)text, strlen(text));
}

static void put_job(yajl_gen gen, const struct job *job)
{
    yajl_gen_array_open(gen);
    yajl_gen_integer(gen, JOB_VERSION);
    yajl_gen_integer(gen, job->queued_ms);
    put_text(gen, job->route);
    put_text(gen, job->fingerprint);
    yajl_gen_array_open(gen);
    for (size_t i = 0; i < job->values.count; i++) {
        if (job->values.texts[i] == NULL)
            yajl_gen_null(gen);
        else
            put_text(gen, job->values.texts[i]);
    }
    yajl_gen_array_close(gen);
    yajl_gen_array_close(gen);
}

char *job_encode(TALLOC_CTX *ctx, const struct job *job, size_t *len)
{
    yajl_gen gen = mem_check(yajl_gen_alloc(NULL));
    const unsigned char *json;
    char *copy = NULL;

    put_job(gen, job);
    yajl_gen_get_buf(gen, &json, len);
    if (*len <= JOB_MAX_BYTES)
        copy = mem_check(talloc_strndup(ctx, (const char *)json, *len));
    yajl_gen_free(gen);
    return copy;
}

/* What is expected next. */
enum place {
    PLACE_ARRAY,
    PLACE_VERSION,
    PLACE_QUEUED,
    PLACE_ROUTE,
    PLACE_FINGERPRINT,
    PLACE_VALUES,
    PLACE_VALUE, /* or the end of the values */
    PLACE_END,
    PLACE_DONE,
};

enum { CANCEL = 0, GO_ON = 1 };

struct reading {
    TALLOC_CTX *ctx;
    struct job *job;
    enum place place;
};

static int advance(struct reading *reading)
{
    reading->place++;
    return GO_ON;
}

static void add_value(struct reading *reading, const char *text)
{
    struct param_values *values = &reading->job->values;
    size_t size = talloc_array_length(values->texts);

    if (values->count == size)
        values->texts = mem_check(
            talloc_realloc(reading->ctx, values->texts, const char *, size > 0 ? 2 * size : 4));
    values->texts[values->count++] = text;
}

static int on_null(void *data)
{
    struct reading *reading = data;

    if (reading->place != PLACE_VALUE)
        return CANCEL;
    add_value(reading, NULL);
    return GO_ON;
}

static int on_integer(void *data, long long value)
{
    struct reading *reading = data;

    switch (reading->place) {
    case PLACE_VERSION:
        return value == JOB_VERSION ? advance(reading) : CANCEL;
    case PLACE_QUEUED:
        reading->job->queued_ms = value;
        return value >= 0 ? advance(reading) : CANCEL;
    default:
        return CANCEL;
    }
}

static int on_string(void *data, const unsigned char *bytes, size_t len)
{
    struct reading *reading = data;

    if (memchr(bytes, '\0', len) != NULL || utf8_length((const char *)bytes, len) == -1)
        return CANCEL;
    const char *text = mem_check(talloc_strndup(reading->ctx, (const char *)bytes, len));
    switch (reading->place) {
    case PLACE_ROUTE:
        reading->job->route = text;
        return advance(reading);
    case PLACE_FINGERPRINT:
        reading->job->fingerprint = text;
        return advance(reading);
    case PLACE_VALUE:
        add_value(reading, text);
        return GO_ON;
    default:
        return CANCEL;
    }
}

static int on_array(void *data)
{
    struct reading *reading = data;

    if (reading->place != PLACE_ARRAY && reading->place != PLACE_VALUES)
        return CANCEL;
    return advance(reading);
}

static int on_array_end(void *data)
{
    struct reading *reading = data;

    if (reading->place != PLACE_VALUE && reading->place != PLACE_END)
        return CANCEL;
    return advance(reading);
}

static int on_boolean(void *data, int value)
{
    (void)data;
    (void)value;
    return CANCEL;
}

static int on_double(void *data, double value)
{
    (void)data;
    (void)value;
    return CANCEL;
}

static int on_map(void *data)
{
    (void)data;
    return CANCEL;
}

/* yajl passes over what has no callback, hence one for everything that can come first. */
static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_integer = on_integer,
    .yajl_double = on_double,
    .yajl_string = on_string,
    .yajl_start_map = on_map,
    .yajl_start_array = on_array,
    .yajl_end_array = on_array_end,
};

int job_decode(TALLOC_CTX *ctx, const char *bytes, size_t len, struct job *job)
{
    struct reading reading = {.ctx = ctx, .job = job, .place = PLACE_ARRAY};

    if (len > JOB_MAX_BYTES)
        return -1;
    *job = (struct job){.route = NULL};
    yajl_handle parser = mem_check(yajl_alloc(&callbacks, NULL, &reading));
    /* on_string judges UTF-8, more strictly than yajl would */
    yajl_config(parser, yajl_dont_validate_strings, 1);
    bool whole = yajl_parse(parser, (const unsigned char *)bytes, len) == yajl_status_ok &&
                 yajl_complete_parse(parser) == yajl_status_ok;
    yajl_free(parser);
    return whole && reading.place == PLACE_DONE ? 0 : -1;
}
