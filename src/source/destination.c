/* SPDX-License-Identifier: BSD-2-Clause */
/* libpq resolves; it is kept from connecting by an sslmode that it refuses once all the rest is
   known. Its own way through services, files, URIs and defaults is long, and no function of it goes
   that way without connecting: PQconninfoParse() leaves services and defaults alone, and
   PQconndefaults() does not know the connection string. */
#include "config.h"

#include "source/destination.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/mem.h"

/* Nobody's sslmode; libpq quotes it when it gets as far as that. */
#define NO_SSLMODE "leeway-resolves"

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options != NULL && options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL ? options->val : "";
    return "";
}

/* The next piece of a list separated by commas, or "" where it has ended. A child of `ctx`. */
static char *next_piece(TALLOC_CTX *ctx, const char **list)
{
    size_t len = strcspn(*list, ",");
    char *piece = mem_check(talloc_strndup(ctx, *list, len));

    *list += len;
    if (**list == ',')
        ++*list;
    return piece;
}

static size_t count_pieces(const char *list)
{
    size_t count = 1;

    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

static bool is_socket(const char *host)
{
    return host[0] == '/' || host[0] == '@';
}

static bool is_loopback(const char *host)
{
    const char *four = strncmp(host, "::ffff:", 7) == 0 ? host + 7 : host;
    size_t len = strlen(host);

    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(four, "127.", 4) == 0 && four[strspn(four, "0123456789.")] == '\0') ||
           (len > 10 && strcmp(host + len - 10, ".localhost") == 0);
}

static char *name_host(TALLOC_CTX *ctx, char *host, const char *port, const char *machine)
{
    if (is_socket(host))
        return mem_check(talloc_asprintf(ctx, "%s:%s@%s", host, port, machine));
    for (char *c = host; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    const char *place = is_loopback(host) ? machine : NULL;
    if (strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0)
        host = mem_check(talloc_strdup(ctx, "localhost"));
    bool bracketed = strchr(host, ':') != NULL;
    return mem_check(talloc_asprintf(ctx, "%s%s%s:%s%s%s", bracketed ? "[" : "", host,
                                     bracketed ? "]" : "", port, place != NULL ? "@" : "",
                                     place != NULL ? place : ""));
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The lists are as libpq has accepted them: as many addresses as hosts, as many ports or one. */
static char *name_hosts(TALLOC_CTX *ctx, const PQconninfoOption *options, const char *default_host,
                        const char *machine)
{
    const char *hosts = value_of(options, "host"), *addresses = value_of(options, "hostaddr");
    const char *ports = value_of(options, "port");
    size_t count = count_pieces(addresses[0] != '\0' ? addresses : hosts);
    bool one_port = count_pieces(ports) == 1;
    char **names = mem_check(talloc_zero_array(ctx, char *, (unsigned)count));
    struct buf out;

    for (size_t i = 0; i < count; i++) {
        const char *again = ports;
        char *host = next_piece(names, &hosts), *address = next_piece(names, &addresses);
        char *port = next_piece(names, one_port ? &again : &ports);
        if (address[0] != '\0')
            host = address;
        else if (host[0] == '\0')
            host = mem_check(talloc_strdup(names, default_host));
        names[i] = name_host(names, host, port, machine);
    }
    qsort(names, count, sizeof *names, compare_texts);
    buf_init(&out, ctx, 128);
    for (size_t i = 0; i < count; i++) {
        buf_append_str(&out, i > 0 ? "," : "");
        buf_append_str(&out, names[i]);
    }
    talloc_free(names);
    return out.data;
}

static void take_found(TALLOC_CTX *ctx, PGconn *conn, const char *machine,
                       struct destination *found)
{
    PQconninfoOption *options = mem_check(PQconninfo(conn));
    const char *first = value_of(options, "host"), *host = PQhost(conn);
    /* what libpq has put in the first one's place if that is empty */
    bool is_default = first[0] == '\0' || first[0] == ',';

    found->user = mem_check(talloc_strdup(ctx, value_of(options, "user")));
    found->database = mem_check(talloc_strdup(ctx, value_of(options, "dbname")));
    found->options = mem_check(talloc_strdup(ctx, value_of(options, "options")));
    if (found->database[0] == '\0')
        found->database = found->user;
    found->hosts = name_hosts(ctx, options, is_default && host != NULL ? host : "/", machine);
    PQconninfoFree(options);
}

static void take_message(char *error, size_t error_size, const char *message)
{
    snprintf(error, error_size, "%s", message);
    error[strcspn(error, "\n")] = '\0';
}

/* libpq's own message quotes what it could not read, which may be a part of a password. */
static int check_syntax(const char *conninfo, char *error, size_t error_size)
{
    char *problem = NULL;
    PQconninfoOption *given = PQconninfoParse(conninfo, &problem);

    PQfreemem(problem);
    if (given == NULL) {
        take_message(error, error_size, "libpq cannot read it as a connection string or URI");
        return -1;
    }
    PQconninfoFree(given);
    return 0;
}

/* A connection that knows all but how to be made. */
static PGconn *resolve(const char *conninfo, bool *resolved)
{
    /* with a password none is looked for in a file, which libpq might complain of */
    static const char *const keywords[] = {"dbname", "password", "sslmode", NULL};
    const char *const values[] = {conninfo, "-", NO_SSLMODE, NULL};
    PGconn *conn = mem_check(PQconnectStartParams(keywords, values, 1));

    *resolved = strstr(PQerrorMessage(conn), NO_SSLMODE) != NULL;
    return conn;
}

int destination_resolve(TALLOC_CTX *ctx, const char *conninfo, const char *machine,
                        struct destination *found, char *error, size_t error_size)
{
    bool resolved;
    int result = -1;

    if (check_syntax(conninfo, error, error_size) == -1)
        return -1;
    PGconn *conn = resolve(conninfo, &resolved);
    if (resolved) {
        take_found(ctx, conn, machine, found);
        result = 0;
    } else {
        take_message(error, error_size, PQerrorMessage(conn));
    }
    PQfinish(conn);
    return result;
}

/* As many addresses as hosts, as many ports or one: libpq has accepted them. */
static size_t take_hosts(TALLOC_CTX *ctx, const PQconninfoOption *options,
                         const struct destination_host **found)
{
    const char *names = value_of(options, "host"), *addresses = value_of(options, "hostaddr");
    const char *ports = value_of(options, "port");
    size_t count = count_pieces(addresses[0] != '\0' ? addresses : names);
    bool one_port = count_pieces(ports) == 1;
    struct destination_host *hosts =
        mem_check(talloc_zero_array(ctx, struct destination_host, (unsigned)count));

    for (size_t i = 0; i < count; i++) {
        const char *again = ports;
        hosts[i].name = next_piece(hosts, &names);
        hosts[i].address = next_piece(hosts, &addresses);
        hosts[i].port = next_piece(hosts, one_port ? &again : &ports);
    }
    *found = hosts;
    return count;
}

size_t destination_hosts(TALLOC_CTX *ctx, const char *conninfo,
                         const struct destination_host **hosts)
{
    bool resolved;
    PGconn *conn = resolve(conninfo, &resolved);
    size_t count = 0;

    if (resolved) {
        PQconninfoOption *options = mem_check(PQconninfo(conn));
        count = take_hosts(ctx, options, hosts);
        PQconninfoFree(options);
    }
    PQfinish(conn);
    return count;
}

bool destination_sets(const char *conninfo, const char *keyword)
{
    bool resolved;
    PGconn *conn = resolve(conninfo, &resolved);
    PQconninfoOption *options = PQconninfo(conn);
    bool set = value_of(options, keyword)[0] != '\0';

    PQconninfoFree(options);
    PQfinish(conn);
    return resolved && set;
}

/* An address, also one of IPv6 with a scope. */
static bool is_numeric(const char *host)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    size_t len = strcspn(host, "%");

    if (len >= sizeof address)
        return false;
    snprintf(address, sizeof address, "%.*s", (int)len, host);
    return inet_pton(AF_INET6, address, &binary) == 1 || inet_pton(AF_INET, host, &binary) == 1;
}

bool destination_is_by_name(const struct destination_host *host)
{
    return host->address[0] == '\0' && host->name[0] != '\0' && !is_socket(host->name) &&
           !is_numeric(host->name);
}

bool destination_names_user(const char *conninfo)
{
    PQconninfoOption *given = PQconninfoParse(conninfo, NULL);
    bool named = value_of(given, "user")[0] != '\0';

    PQconninfoFree(given);
    return named;
}

/* Preceded by its length, so that no two sequences of fields are the same bytes. */
static void put_field(struct buf *out, const char *text)
{
    buf_printf(out, "%zu:%s", strlen(text), text);
}

char *destination_as_written(TALLOC_CTX *ctx, const char *conninfo)
{
    static const char *const keywords[] = {"service", "host", "hostaddr", "port",
                                           "dbname",  "user", "options"};
    PQconninfoOption *given = PQconninfoParse(conninfo, NULL);
    struct buf out;

    buf_init(&out, ctx, 128);
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        put_field(&out, value_of(given, keywords[i]));
    PQconninfoFree(given);
    return out.data;
}

void destination_hash(const struct destination *destination, const char *name,
                      char out[DESTINATION_HEX + 1])
{
    struct buf text;

    buf_init(&text, NULL, 256);
    put_field(&text, name);
    put_field(&text, name[0] != '\0' ? "" : destination->hosts);
    put_field(&text, destination->database);
    put_field(&text, destination->user);
    put_field(&text, destination->options);
    snprintf(out, DESTINATION_HEX + 1, "%016" PRIx64, (uint64_t)XXH3_64bits(text.data, text.len));
    talloc_free(text.data);
}
