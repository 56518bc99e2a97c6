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

enum { REQUEST_POOL_BYTES = 4096 };

struct parser {
    FCGX_Request fcgi; /* its streams point back to it: it never moves */
    const char *const *variables;
    size_t n_variables;
};

struct parser *parser_new(TALLOC_CTX *ctx, const char *const *variables)
{
    struct parser *parser = mem_check(talloc_zero(ctx, struct parser));

    parser->variables = variables;
    while (variables[parser->n_variables] != NULL)
        parser->n_variables++;
    if (FCGX_Init() != 0) {
        log_message(LOG_LEVEL_ERROR, "libfcgi cannot be initialised");
        abort();
    }
    FCGX_InitRequest(&parser->fcgi, -1, 0);
    return parser;
}

/* Copies a variable; `missing` if it was not sent. */
static const char *copy(struct request *request, const FCGX_Request *fcgi, const char *name,
                        const char *missing)
{
    const char *value = FCGX_GetParam(name, fcgi->envp);

    return value != NULL ? mem_check(talloc_strdup(request, value)) : missing;
}

static struct request *copy_request(const struct parser *parser, TALLOC_CTX *ctx)
{
    const FCGX_Request *fcgi = &parser->fcgi;
    struct request *request = mem_check(talloc_pooled_object(
        ctx, struct request, (unsigned)(8 + parser->n_variables), REQUEST_POOL_BYTES));

    *request = (struct request){
        .method = copy(request, fcgi, "REQUEST_METHOD", ""),
        .target = copy(request, fcgi, "REQUEST_URI", NULL),
        .script_name = copy(request, fcgi, "SCRIPT_NAME", ""),
        .path_info = copy(request, fcgi, "PATH_INFO", ""),
        .query_string = copy(request, fcgi, "QUERY_STRING", ""),
        .if_none_match = copy(request, fcgi, "HTTP_IF_NONE_MATCH", NULL),
        .remote_addr = copy(request, fcgi, "REMOTE_ADDR", ""),
        .received_us = clock_monotonic_us(),
    };
    request->variables =
        mem_check(talloc_array(request, const char *, (unsigned)parser->n_variables + 1));
    for (size_t i = 0; i < parser->n_variables; i++)
        request->variables[i] = copy(request, fcgi, parser->variables[i], NULL);
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
