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

/* What is always copied, in the order of `struct request`. */
enum known {
    KNOWN_METHOD,
    KNOWN_TARGET,
    KNOWN_SCRIPT_NAME,
    KNOWN_PATH_INFO,
    KNOWN_QUERY_STRING,
    KNOWN_IF_NONE_MATCH,
    KNOWN_REMOTE_ADDR,
    KNOWN_COUNT,
};

static const char *const known_names[] = {
    [KNOWN_METHOD] = "REQUEST_METHOD",     [KNOWN_TARGET] = "REQUEST_URI",
    [KNOWN_SCRIPT_NAME] = "SCRIPT_NAME",   [KNOWN_PATH_INFO] = "PATH_INFO",
    [KNOWN_QUERY_STRING] = "QUERY_STRING", [KNOWN_IF_NONE_MATCH] = "HTTP_IF_NONE_MATCH",
    [KNOWN_REMOTE_ADDR] = "REMOTE_ADDR",
};

/* A variable that is wanted, and what one request has of it. */
struct wanted {
    const char *name;
    size_t name_len;
    const char *value; /* NULL: nothing */
    size_t value_len;
};

struct parser {
    FCGX_Request fcgi; /* its streams point back to it: it never moves */
    size_t n_wanted;   /* the known ones, then those of transport_options */
    uint64_t lengths;  /* of their names: bit N for N bytes, the last one for longer ones too */
    struct wanted *wanted;
};

static uint64_t length_bit(size_t len)
{
    return UINT64_C(1) << (len < 63 ? len : 63);
}

struct parser *parser_new(TALLOC_CTX *ctx, const char *const *variables)
{
    struct parser *parser = mem_check(talloc_zero(ctx, struct parser));

    parser->n_wanted = KNOWN_COUNT;
    while (variables[parser->n_wanted - KNOWN_COUNT] != NULL)
        parser->n_wanted++;
    parser->wanted =
        mem_check(talloc_zero_array(parser, struct wanted, (unsigned)parser->n_wanted));
    for (size_t i = 0; i < parser->n_wanted; i++) {
        const char *name = i < KNOWN_COUNT ? known_names[i] : variables[i - KNOWN_COUNT];
        parser->wanted[i] = (struct wanted){.name = name, .name_len = strlen(name)};
        parser->lengths |= length_bit(parser->wanted[i].name_len);
    }
    if (FCGX_Init() != 0) {
        log_message(LOG_LEVEL_ERROR, "libfcgi cannot be initialised");
        abort();
    }
    FCGX_InitRequest(&parser->fcgi, -1, 0);
    return parser;
}

/* Of a name that is sent twice the first counts. */
static void find_values(struct parser *parser)
{
    for (size_t i = 0; i < parser->n_wanted; i++)
        parser->wanted[i].value = NULL;
    for (char **entry = parser->fcgi.envp; *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        size_t len = equals != NULL ? (size_t)(equals - *entry) : 0;
        if ((parser->lengths & length_bit(len)) == 0)
            continue;
        for (size_t i = 0; i < parser->n_wanted; i++) {
            struct wanted *wanted = &parser->wanted[i];
            if (wanted->name_len == len && wanted->value == NULL &&
                memcmp(*entry, wanted->name, len) == 0) {
                wanted->value = equals + 1;
                wanted->value_len = strlen(equals + 1);
            }
        }
    }
}

/* All values that were found, behind each other; the parser's then point there. */
static void copy_found(struct parser *parser, struct request *request)
{
    size_t size = 0;

    for (size_t i = 0; i < parser->n_wanted; i++)
        if (parser->wanted[i].value != NULL)
            size += parser->wanted[i].value_len + 1;
    char *to = mem_check(talloc_array(request, char, size));
    for (size_t i = 0; i < parser->n_wanted; i++) {
        struct wanted *wanted = &parser->wanted[i];
        if (wanted->value == NULL)
            continue;
        wanted->value = memcpy(to, wanted->value, wanted->value_len + 1);
        to += wanted->value_len + 1;
    }
}

static const char *value_of(const struct parser *parser, enum known known, const char *missing)
{
    const char *value = parser->wanted[known].value;

    return value != NULL ? value : missing;
}

static struct request *copy_request(struct parser *parser, TALLOC_CTX *ctx)
{
    size_t n_variables = parser->n_wanted - KNOWN_COUNT;
    struct request *request = mem_check(talloc(ctx, struct request));

    find_values(parser);
    copy_found(parser, request);
    *request = (struct request){
        .method = value_of(parser, KNOWN_METHOD, ""),
        .target = value_of(parser, KNOWN_TARGET, NULL),
        .script_name = value_of(parser, KNOWN_SCRIPT_NAME, ""),
        .path_info = value_of(parser, KNOWN_PATH_INFO, ""),
        .query_string = value_of(parser, KNOWN_QUERY_STRING, ""),
        .if_none_match = value_of(parser, KNOWN_IF_NONE_MATCH, NULL),
        .remote_addr = value_of(parser, KNOWN_REMOTE_ADDR, ""),
        .received_us = clock_monotonic_us(),
    };
    request->variables = mem_check(talloc_array(request, const char *, (unsigned)n_variables + 1));
    for (size_t i = 0; i < n_variables; i++)
        request->variables[i] = parser->wanted[KNOWN_COUNT + i].value;
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
