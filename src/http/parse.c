/* SPDX-License-Identifier: BSD-2-Clause */
/* libfcgi is given a descriptor from which a whole request can be read at once, and is
   rid of everything as soon as what is wanted has been copied. It never writes,
   never closes and never waits. */
#include "config.h"

#include "http/parse.h"

#include <fcgiapp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/variables.h"

/* What is always wanted. */
enum known {
    KNOWN_METHOD,
    KNOWN_TARGET,
    KNOWN_SCRIPT_NAME,
    KNOWN_PATH_INFO,
    KNOWN_QUERY_STRING,
    KNOWN_IF_NONE_MATCH,
    KNOWN_ACCEPT_ENCODING,
    KNOWN_REMOTE_ADDR,
    KNOWN_CONTENT_LENGTH, /* only to be told that there is one of it */
    KNOWN_COUNT,
};

static const char *const known_names[] = {
    [KNOWN_METHOD] = "REQUEST_METHOD",
    [KNOWN_TARGET] = "REQUEST_URI",
    [KNOWN_SCRIPT_NAME] = "SCRIPT_NAME",
    [KNOWN_PATH_INFO] = "PATH_INFO",
    [KNOWN_QUERY_STRING] = "QUERY_STRING",
    [KNOWN_IF_NONE_MATCH] = "HTTP_IF_NONE_MATCH",
    [KNOWN_ACCEPT_ENCODING] = "HTTP_ACCEPT_ENCODING",
    [KNOWN_REMOTE_ADDR] = "REMOTE_ADDR",
    [KNOWN_CONTENT_LENGTH] = "CONTENT_LENGTH",
};

struct parser {
    FCGX_Request fcgi;        /* its streams point back to it: it never moves */
    struct variables *wanted; /* the known ones, then those of transport_options */
};

struct parser *parser_new(TALLOC_CTX *ctx, const char *const *variables)
{
    struct parser *parser = mem_check(talloc_zero(ctx, struct parser));

    parser->wanted = variables_new(parser);
    for (int i = 0; i < KNOWN_COUNT; i++)
        variables_add(parser->wanted, known_names[i],
                      i == KNOWN_IF_NONE_MATCH || i == KNOWN_ACCEPT_ENCODING);
    for (; *variables != NULL; variables++)
        variables_add(parser->wanted, *variables, false);
    if (FCGX_Init() != 0) {
        log_message(LOG_LEVEL_ERROR, "libfcgi cannot be initialised");
        abort();
    }
    FCGX_InitRequest(&parser->fcgi, -1, 0);
    return parser;
}

/* All values that were found, behind each other; those of `wanted` then point there. */
static void copy_found(struct variables *wanted, struct request *request)
{
    size_t size = 0;

    for (size_t i = 0; i < wanted->count; i++)
        if (wanted->items[i].value != NULL)
            size += wanted->items[i].value_len + 1;
    char *to = mem_check(talloc_array(request, char, size));
    for (size_t i = 0; i < wanted->count; i++) {
        struct variable *variable = &wanted->items[i];
        if (variable->value == NULL)
            continue;
        variable->value = memcpy(to, variable->value, variable->value_len + 1);
        to += variable->value_len + 1;
    }
}

static const char *value_of(const struct variables *wanted, enum known known, const char *missing)
{
    const char *value = wanted->items[known].value;

    return value != NULL ? value : missing;
}

static struct request *copy_request(struct parser *parser, TALLOC_CTX *ctx)
{
    struct variables *wanted = parser->wanted;
    size_t n_variables = wanted->count - KNOWN_COUNT;
    struct request *request = mem_check(talloc(ctx, struct request));
    const char *ambiguous = variables_find(wanted, parser->fcgi.envp, request);

    copy_found(wanted, request);
    *request = (struct request){
        .method = value_of(wanted, KNOWN_METHOD, ""),
        .target = value_of(wanted, KNOWN_TARGET, NULL),
        .script_name = value_of(wanted, KNOWN_SCRIPT_NAME, ""),
        .path_info = value_of(wanted, KNOWN_PATH_INFO, ""),
        .query_string = value_of(wanted, KNOWN_QUERY_STRING, ""),
        .if_none_match = value_of(wanted, KNOWN_IF_NONE_MATCH, NULL),
        .accept_encoding = value_of(wanted, KNOWN_ACCEPT_ENCODING, NULL),
        .remote_addr = value_of(wanted, KNOWN_REMOTE_ADDR, ""),
        .ambiguous = ambiguous,
        .received_us = clock_monotonic_us(),
    };
    request->variables = mem_check(talloc_array(request, const char *, (unsigned)n_variables + 1));
    for (size_t i = 0; i < n_variables; i++)
        request->variables[i] = wanted->items[KNOWN_COUNT + i].value;
    return request;
}

struct request *parser_read(struct parser *parser, TALLOC_CTX *ctx, int fd, bool *closed)
{
    FCGX_Request *fcgi = &parser->fcgi;
    struct request *request = NULL;
    char rest[4096];

    fcgi->ipcFd = fd;
    fcgi->keepConnection = 1; /* accepting begins with finishing, which would close */
    fcgi->listen_sock = -1;   /* a refusal returns instead of waiting in accept() */
    fcgi->detached = 1;       /* no polling for the peer to close */
    *closed = FCGX_Accept_r(fcgi) < 0;
    if (*closed)
        return NULL;
    while (FCGX_GetStr(rest, sizeof rest, fcgi->in) > 0)
        ;
    /* parameters that were cut off look like a whole request otherwise */
    if (FCGX_GetError(fcgi->in) == 0)
        request = copy_request(parser, ctx);
    FCGX_Free(fcgi, 0);
    fcgi->ipcFd = -1;
    return request;
}
