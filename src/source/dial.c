/* SPDX-License-Identifier: BSD-2-Clause */
/* Servers are looked up when it is their turn, so that a name that is found slowly holds up nobody
   who does not need it. */
#include "config.h"

#include "source/dial.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/resolver.h"
#include "source/destination.h"
#include "source/verdict.h"

enum {
    /* An answer that has come while this process was held up is still taken for so long. */
    OUR_DELAY_MS = 250,
    KEEPALIVE_IDLE_S = 15,
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_PROBES = 3,
    /* What is sent and not acknowledged for connect_timeout, or this if that is longer, ends a
       connection. */
    UNHEARD_LEAST_MS = 2000,
};

struct dial {
    struct dial_options options;
    dial_fn *fn;
    void *data;
    const struct destination_host *hosts;
    size_t n_hosts; /* 0: libpq refuses the connection string, and says why */
    size_t first;
    size_t n_tried;            /* hosts whose turn has come */
    struct resolver *resolver; /* NULL: nothing is being looked up */
    char addresses[RESOLVER_MAX][NI_MAXHOST];
    size_t n_addresses, at_address; /* of the host whose turn it is; those that were tried */
    PGconn *conn;                   /* while it is being made */
    int64_t until_us;
    bool late;                    /* the deadline has been put off once */
    char *problem;                /* of all that failed */
    enum verdict_refusal refusal; /* of the servers so far */
    ev_io io;
    ev_timer timer;
};

static void go_on(struct dial *dial);

static void set_timer(struct dial *dial, int64_t ms)
{
    struct ev_loop *loop = dial->options.loop;

    ev_now_update(loop);
    ev_timer_stop(loop, &dial->timer);
    ev_timer_set(&dial->timer, (double)ms / 1000.0, 0.0);
    ev_timer_start(loop, &dial->timer);
}

static void stop(struct dial *dial)
{
    ev_io_stop(dial->options.loop, &dial->io);
    ev_timer_stop(dial->options.loop, &dial->timer);
}

static void drop_connection(struct dial *dial)
{
    stop(dial);
    PQfinish(dial->conn);
    dial->conn = NULL;
}

/* That whose turn it is. */
static const struct destination_host *host_of(const struct dial *dial)
{
    return &dial->hosts[(dial->first + dial->n_tried - 1) % dial->n_hosts];
}

/* --- what is remembered */

static void name_server(const struct destination_host *host, char name[DIAL_SERVER_BYTES])
{
    snprintf(name, DIAL_SERVER_BYTES, "%s,%s,%s", host->name, host->address, host->port);
}

static size_t first_of(const struct dial *dial)
{
    char name[DIAL_SERVER_BYTES];

    for (size_t i = 0; i < dial->n_hosts; i++) {
        name_server(&dial->hosts[i], name);
        if (strcmp(name, dial->options.memory->server) == 0)
            return i;
    }
    return 0;
}

static void put_remembered_first(struct dial *dial)
{
    char first[NI_MAXHOST];

    for (size_t i = 1; i < dial->n_addresses; i++) {
        if (strcmp(dial->addresses[i], dial->options.memory->address) != 0)
            continue;
        memcpy(first, dial->addresses[i], sizeof first);
        memmove(dial->addresses + 1, dial->addresses, i * sizeof first);
        memcpy(dial->addresses[0], first, sizeof first);
        return;
    }
}

void dial_settle(struct dial *dial)
{
    struct dial_memory *memory = dial->options.memory;

    *memory = (struct dial_memory){.server = ""};
    if (dial->n_hosts == 0)
        return;
    name_server(host_of(dial), memory->server);
    if (dial->at_address > 0)
        memcpy(memory->address, dial->addresses[dial->at_address - 1], sizeof memory->address);
}

/* --- what failed */

/* Another host of the list is told from this one by its port only. */
static bool needs_port(const struct dial *dial, const struct destination_host *host)
{
    size_t alike = 0;

    for (size_t i = 0; i < dial->n_hosts; i++)
        alike += strcmp(dial->hosts[i].name, host->name) == 0 &&
                 strcmp(dial->hosts[i].address, host->address) == 0;
    return alike > 1;
}

static char *label_of(TALLOC_CTX *ctx, const struct dial *dial)
{
    const struct destination_host *host = host_of(dial);
    const char *name = host->name[0] != '\0' ? host->name : host->address;
    const char *address = dial->at_address > 0 ? dial->addresses[dial->at_address - 1] : "";
    bool port = needs_port(dial, host), several = dial->n_addresses > 1;

    return mem_check(talloc_asprintf(ctx, "%s%s%s%s%s%s: ", name[0] != '\0' ? name : "(default)",
                                     port ? ":" : "", port ? host->port : "", several ? " (" : "",
                                     several ? address : "", several ? ")" : ""));
}

void dial_note(struct dial *dial, const char *why)
{
    bool several = dial->n_hosts > 1 || dial->n_addresses > 1;
    char *label = several ? label_of(dial, dial) : NULL;

    dial->problem = mem_check(talloc_asprintf_append(
        dial->problem, "%s%s%s", dial->problem[0] != '\0' ? "; " : "", several ? label : "", why));
    talloc_free(label);
}

/* libpq's own words. */
static void note_refusal(struct dial *dial)
{
    char *error = mem_check(talloc_strdup(dial, PQerrorMessage(dial->conn)));
    size_t len = strlen(error);

    while (len > 0 && error[len - 1] == '\n')
        error[--len] = '\0';
    enum verdict_refusal refusal = verdict_take_refusal(error);
    dial->refusal = refusal > dial->refusal ? refusal : dial->refusal;
    if (dial->n_hosts > 1 || dial->n_addresses > 1)
        error[strcspn(error, "\n")] = '\0'; /* what follows are hints */
    dial_note(dial, error);
    talloc_free(error);
}

/* --- one address */

static void watch(struct dial *dial, int events)
{
    /* libpq may change sockets between two polls, also for one of the same number */
    ev_io_stop(dial->options.loop, &dial->io);
    ev_io_set(&dial->io, PQsocket(dial->conn), events);
    ev_io_start(dial->options.loop, &dial->io);
}

/* libpq takes what is empty for not given, and then the connection string's own list, unless it
   stands in a list: a host with something empty is given twice. */
static char *twice(TALLOC_CTX *ctx, const char *text)
{
    return mem_check(talloc_asprintf(ctx, "%s,%s", text, text));
}

/* Keywords of libpq and their values, and room for a NULL behind them. */
struct parameters {
    const char *keywords[16];
    const char *values[16];
    size_t count;
};

static void put(struct parameters *to, const char *keyword, const char *value)
{
    to->keywords[to->count] = keyword;
    to->values[to->count++] = value;
}

/* A connection that nobody answers on is given up by the kernel. What the operator has said
   counts: what stands before the connection string gives way to it, but not to its service. */
static void put_keepalive(struct parameters *to, TALLOC_CTX *ctx, const struct dial *dial)
{
    const struct postgres_settings *settings = dial->options.settings;
    int64_t unheard_ms = settings->connect_timeout_ms > UNHEARD_LEAST_MS
                             ? settings->connect_timeout_ms
                             : UNHEARD_LEAST_MS;
    const struct {
        const char *keyword;
        int64_t value;
    } defaults[] = {
        {"keepalives_idle", KEEPALIVE_IDLE_S},
        {"keepalives_interval", KEEPALIVE_INTERVAL_S},
        {"keepalives_count", KEEPALIVE_PROBES},
        {"tcp_user_timeout", unheard_ms},
    };

    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (!destination_sets(settings->conninfo, defaults[i].keyword))
            put(to, defaults[i].keyword,
                mem_check(talloc_asprintf(ctx, "%" PRId64, defaults[i].value)));
}

static void put_host(struct parameters *to, TALLOC_CTX *ctx, const struct dial *dial,
                     const struct destination_host *host, const char *address)
{
    bool double_up = dial->n_hosts > 1 && (host->name[0] == '\0' || address[0] == '\0');

    put(to, "host", double_up ? twice(ctx, host->name) : host->name);
    put(to, "hostaddr", double_up ? twice(ctx, address) : address);
    put(to, "port", double_up ? twice(ctx, host->port) : host->port);
}

static PGconn *begin(const struct dial *dial, const struct destination_host *host,
                     const char *address)
{
    const struct postgres_settings *settings = dial->options.settings;
    TALLOC_CTX *scratch = mem_check(talloc_new(NULL));
    struct parameters parameters = {.count = 0};

    put_keepalive(&parameters, scratch, dial);
    put(&parameters, "dbname", settings->conninfo);
    put(&parameters, "password", settings->password);
    put(&parameters, "fallback_application_name", dial->options.application);
    put(&parameters, "client_encoding", "UTF8");
    if (host != NULL)
        put_host(&parameters, scratch, dial, host, address);
    put(&parameters, NULL, NULL);
    PGconn *conn = mem_check(PQconnectStartParams(parameters.keywords, parameters.values, 1));
    talloc_free(scratch);
    return conn;
}

static void ignore_notice(void *data, const PGresult *notice)
{
    (void)data;
    (void)notice;
}

/* A connection that fails at once is noticed by the timer. */
static void connect_to(struct dial *dial, const struct destination_host *host, const char *address)
{
    int64_t timeout_ms = dial->options.settings->connect_timeout_ms;

    dial->conn = begin(dial, host, address);
    PQsetNoticeReceiver(dial->conn, ignore_notice, NULL);
    PQsetErrorVerbosity(dial->conn, PQERRORS_VERBOSE); /* for verdict_take_refusal() */
    dial->late = false;
    dial->until_us = clock_monotonic_us() + timeout_ms * 1000;
    if (PQstatus(dial->conn) == CONNECTION_BAD || PQsocket(dial->conn) == -1) {
        set_timer(dial, 0);
        return;
    }
    set_timer(dial, timeout_ms);
    watch(dial, EV_WRITE);
}

static void fail(struct dial *dial, const char *why)
{
    if (why != NULL)
        dial_note(dial, why);
    else
        note_refusal(dial);
    drop_connection(dial);
    go_on(dial);
}

static void hand_over(struct dial *dial)
{
    PGconn *conn = dial->conn;

    stop(dial);
    dial->conn = NULL;
    dial->fn(dial->data, conn);
}

static void on_io(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct dial *dial = watcher->data;

    (void)loop;
    (void)events;
    switch (PQconnectPoll(dial->conn)) {
    case PGRES_POLLING_READING:
        watch(dial, EV_READ);
        break;
    case PGRES_POLLING_WRITING:
        watch(dial, EV_WRITE);
        break;
    case PGRES_POLLING_OK:
        hand_over(dial);
        break;
    default:
        fail(dial, NULL);
    }
}

/* Whether the server has done its part and it is us who are late. */
static bool is_our_delay(struct dial *dial)
{
    struct pollfd fd = {.fd = dial->io.fd};

    if (!ev_is_active(&dial->io))
        return false;
    fd.events = (dial->io.events & EV_READ) != 0 ? POLLIN : POLLOUT;
    return poll(&fd, 1, 0) == 1;
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct dial *dial = timer->data;

    (void)loop;
    (void)events;
    if (dial->conn == NULL) {
        dial->fn(dial->data, NULL);
        return;
    }
    if (!dial->late && is_our_delay(dial)) {
        dial->late = true;
        set_timer(dial, OUR_DELAY_MS);
        return;
    }
    fail(dial, PQstatus(dial->conn) == CONNECTION_BAD ? NULL : "no answer in time");
}

/* --- one host after the other */

static void on_resolved(void *data, const struct resolver_address *addresses, size_t count,
                        const char *problem)
{
    struct dial *dial = data;

    dial->resolver = NULL;
    for (size_t i = 0; i < count && dial->n_addresses < RESOLVER_MAX; i++)
        if (getnameinfo((const struct sockaddr *)&addresses[i].address, addresses[i].len,
                        dial->addresses[dial->n_addresses], NI_MAXHOST, NULL, 0,
                        NI_NUMERICHOST) == 0)
            dial->n_addresses++;
    if (dial->n_addresses == 0) {
        char *why = mem_check(
            talloc_asprintf(dial, "could not translate host name \"%s\" to address: %s",
                            host_of(dial)->name, problem != NULL ? problem : "it has none"));
        dial_note(dial, why);
        talloc_free(why);
    }
    put_remembered_first(dial);
    go_on(dial);
}

static void begin_host(struct dial *dial)
{
    dial->n_tried++;
    dial->n_addresses = dial->at_address = 0;
    if (dial->n_hosts == 0) {
        connect_to(dial, NULL, "");
        return;
    }
    const struct destination_host *host = host_of(dial);
    if (destination_is_by_name(host))
        dial->resolver =
            resolver_start(dial->options.loop, host->name, 0,
                           dial->options.settings->connect_timeout_ms, on_resolved, dial);
    else
        connect_to(dial, host, host->address);
}

bool dial_has_next(const struct dial *dial)
{
    return dial->at_address < dial->n_addresses || dial->n_tried < dial->n_hosts;
}

static void go_on(struct dial *dial)
{
    if (dial->at_address < dial->n_addresses) {
        dial->at_address++;
        connect_to(dial, host_of(dial), dial->addresses[dial->at_address - 1]);
    } else if (dial->n_tried == 0 || dial->n_tried < dial->n_hosts) {
        begin_host(dial);
    } else {
        set_timer(dial, 0);
    }
}

void dial_next(struct dial *dial)
{
    go_on(dial);
}

int64_t dial_left_ms(const struct dial *dial)
{
    int64_t left_us = dial->until_us - clock_monotonic_us();

    return left_us > 0 ? (left_us + 999) / 1000 : 0;
}

const char *dial_problem(const struct dial *dial)
{
    return dial->problem;
}

enum verdict_refusal dial_refusal(const struct dial *dial)
{
    return dial->refusal;
}

static int dial_destroy(struct dial *dial)
{
    if (dial->resolver != NULL)
        resolver_cancel(dial->resolver);
    drop_connection(dial);
    return 0;
}

struct dial *dial_new(TALLOC_CTX *ctx, const struct dial_options *options, dial_fn *fn, void *data)
{
    struct dial *dial = mem_check(talloc_zero(ctx, struct dial));

    dial->options = *options;
    dial->fn = fn;
    dial->data = data;
    dial->problem = mem_check(talloc_strdup(dial, ""));
    dial->n_hosts = destination_hosts(dial, options->settings->conninfo, &dial->hosts);
    dial->first = first_of(dial);
    ev_init(&dial->io, on_io);
    ev_init(&dial->timer, on_timer);
    dial->io.data = dial->timer.data = dial;
    talloc_set_destructor(dial, dial_destroy);
    go_on(dial);
    return dial;
}
