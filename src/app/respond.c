/* SPDX-License-Identifier: BSD-2-Clause */
/* Heads of responses, and what is counted of them. */
#include "config.h"

#include "app/respond.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "http/conditional.h"
#include "http/problem.h"

enum { HEAD_BYTES = 512, CODED_FOR_ONE_BYTES = 1024 * 1024 };

static bool is_head_request(const struct request *request)
{
    return strcmp(request->method, "HEAD") == 0;
}

static bool row_is_cached(enum answer_row row)
{
    return row == ANSWER_FRESH || row == ANSWER_STALE || row == ANSWER_ON_ERROR;
}

/* What is counted of a response once its first byte has been written: by then the visit is
   gone. */
struct receipt {
    const struct backend *backend;
    const struct route *route;
    const struct freshness_policy *policy;
    enum answer_row row;
    int status;
    int64_t received_us;
    int64_t sent_us; /* as in struct answer */
    int64_t snapshot_us;
};

/* The longest time by which the response may have lagged behind; 0: there is none. */
static int64_t age_limit_us(const struct receipt *receipt)
{
    if (receipt->row == ANSWER_FRESH && freshness_is_negative(receipt->status))
        return receipt->policy->negative_budget_us;
    if (receipt->row == ANSWER_ON_ERROR)
        return receipt->policy->budget_us + receipt->policy->stale_if_error_us;
    return receipt->policy->budget_us;
}

/* Of one's own query the local clock saw it sent, and Redis's went on should the machine have stood
   still since: the one that says more. */
static int64_t age_of(const struct receipt *receipt, int64_t now_us)
{
    const struct cache *cache = receipt->backend->cache;
    const struct redis_clock *clock = cache_clock(cache);
    int64_t snapshot_us = receipt->snapshot_us;

    if (receipt->sent_us == 0)
        return redis_clock_latest_for(clock, snapshot_us, now_us) - snapshot_us;
    int64_t local_us = now_us - receipt->sent_us;
    int64_t redis_us = snapshot_us != 0 && cache_is_up(cache)
                           ? redis_clock_latest(clock, now_us) - snapshot_us
                           : 0;
    return local_us > redis_us ? local_us : redis_us;
}

/* Nothing here comes from the decision to serve: the age is worked out anew, after the write. */
static void count_response(const struct receipt *receipt)
{
    struct metrics *metrics = receipt->backend->metrics;
    bool stale = receipt->row == ANSWER_STALE || receipt->row == ANSWER_ON_ERROR;
    int64_t limit_us = age_limit_us(receipt);
    int64_t now_us = clock_monotonic_us();
    int64_t age_us = age_of(receipt, now_us);

    metrics_response(metrics, receipt->route, row_is_cached(receipt->row), stale,
                     now_us - receipt->received_us);
    metrics_served_age(metrics, receipt->route, age_us > 0 ? age_us : 0);
    if (limit_us > 0 && age_us >= limit_us)
        metrics_budget_exceeded(metrics, receipt->route);
    if (stale)
        metrics_stale_serve(metrics, receipt->route,
                            receipt->row == ANSWER_STALE ? STALE_BUDGET : STALE_ERROR);
    if (receipt->row == ANSWER_COLLAPSED)
        metrics_collapsed(metrics, receipt->route, COLLAPSE_SERVED);
}

/* Which form of a response a client gets. */
enum wanted {
    WANTED_AS_STORED,
    WANTED_PLAIN, /* without the coding in which it is stored */
    WANTED_CODED, /* in its context's coding, though it is stored without */
    WANTED_NONE,
};

/* It is, for this client alone: not what would hold up the others. */
static bool may_be_coded(const struct cache_entry *entry)
{
    return entry->body_len <= CODED_FOR_ONE_BYTES;
}

static enum wanted wanted_form(const struct visit *visit, const struct cache_entry *entry)
{
    const struct coding *coding = visit->route->context->coding;
    struct acceptance accepts = visit->accepts;

    if (entry->coding == NULL) {
        if (accepts.plain || entry->status != 200)
            return WANTED_AS_STORED;
        return accepts.coded && may_be_coded(entry) ? WANTED_CODED : WANTED_NONE;
    }
    if (entry->coding != coding)
        accepts = accept_encoding(visit->request->accept_encoding, entry->coding->name);
    if (accepts.prefers_coded)
        return WANTED_AS_STORED;
    if (accepts.plain)
        return WANTED_PLAIN;
    return accepts.coded ? WANTED_AS_STORED : WANTED_NONE;
}

static bool is_known_to_client(const struct visit *visit, const char *etag)
{
    return etag[0] != '\0' && conditional_none_match(visit->request->if_none_match, etag);
}

/* `etag` is filled in if the client knows it. */
static bool is_unchanged(const struct visit *visit, const struct cache_entry *entry, bool plain,
                         char etag[ENTRY_ETAG_BYTES + 1])
{
    if (visit->request->if_none_match == NULL)
        return false;
    entry_etag(entry, plain, etag);
    return is_known_to_client(visit, etag);
}

bool respond_can_send(const struct visit *visit, struct stored *stored)
{
    enum wanted wanted = wanted_form(visit, &stored->entry);
    char etag[ENTRY_ETAG_BYTES + 1];
    struct form form;

    if (wanted == WANTED_CODED)
        stored_coded_form(stored, visit->route->context->coding, &form);
    if (wanted != WANTED_PLAIN || is_unchanged(visit, &stored->entry, true, etag))
        return true;
    if (!is_head_request(visit->request))
        return stored_is_sound(stored);
    entry_etag(&stored->entry, true, etag);
    return etag[0] != '\0';
}

static void send_not_modified(struct visit *visit, const struct cache_entry *entry,
                              const struct answer *answer, const char *etag)
{
    bool varies = entry->coding != NULL || visit->route->context->coding != NULL;
    char head[HEAD_BYTES];
    size_t len = (size_t)snprintf(head, sizeof head, "Status: 304 Not Modified\r\n");

    len += answer_cache_headers(head + len, sizeof head - len, answer);
    len += (size_t)snprintf(head + len, sizeof head - len, "%sETag: %s\r\n\r\n",
                            varies ? "Vary: Accept-Encoding\r\n" : "", etag);
    const struct answer_bytes bytes = {.head = head, .head_len = len};
    request_answer(visit->request, &bytes);
}

static const char *status_line(int status)
{
    switch (status) {
    case 200:
        return "Status: 200 OK\r\n";
    case 410:
        return "Status: 410 Gone\r\n";
    default:
        return "Status: 404 Not Found\r\n";
    }
}

/* The form's header lines and body lie behind each other, and go out as they are. */
static void send_form(struct visit *visit, int status, const struct answer *answer,
                      const struct form *form)
{
    const char *line = status_line(status);
    size_t len = strlen(line);
    char head[HEAD_BYTES];

    memcpy(head, line, len);
    len += answer_cache_headers(head + len, sizeof head - len, answer);
    const struct answer_bytes bytes = {
        .head = head,
        .head_len = len,
        .body = form->head,
        .body_len = form->head_len + (is_head_request(visit->request) ? 0 : form->body_len),
        .shared = form->bytes,
    };
    request_answer(visit->request, &bytes);
}

static void send_as_stored(struct visit *visit, const struct stored *stored,
                           const struct answer *answer)
{
    char etag[ENTRY_ETAG_BYTES + 1];
    struct form form;

    if (is_unchanged(visit, &stored->entry, false, etag)) {
        send_not_modified(visit, &stored->entry, answer, etag);
        return;
    }
    stored_form(stored, &form);
    send_form(visit, stored->entry.status, answer, &form);
}

/* HEAD needs the length, not the body. */
static void send_plain(struct visit *visit, struct stored *stored, const struct answer *answer)
{
    const struct cache_entry *entry = &stored->entry;
    char etag[ENTRY_ETAG_BYTES + 1], head[ENTRY_HEAD_BYTES];
    struct form form = {.head = head};

    if (is_unchanged(visit, entry, true, etag)) {
        send_not_modified(visit, entry, answer, etag);
        return;
    }
    if (is_head_request(visit->request)) {
        entry_etag(entry, true, etag);
        form.head_len = entry_head(head, NULL, etag, entry->plain_len);
    } else {
        metrics_decompressed(visit->backend->metrics, visit->route);
        stored_plain_form(stored, &form);
    }
    send_form(visit, entry->status, answer, &form);
}

static void send_coded(struct visit *visit, struct stored *stored, const struct answer *answer)
{
    struct form form;

    stored_coded_form(stored, visit->route->context->coding, &form);
    if (is_known_to_client(visit, form.etag))
        send_not_modified(visit, &stored->entry, answer, form.etag);
    else
        send_form(visit, stored->entry.status, answer, &form);
}

void respond_stored(struct visit *visit, struct stored *stored, const struct answer *answer)
{
    const struct receipt receipt = {
        .backend = visit->backend,
        .route = visit->route,
        .policy = &visit->rules->policy,
        .row = answer->row,
        .status = stored->entry.status,
        .received_us = visit->request->received_us,
        .sent_us = answer->sent_us,
        .snapshot_us = stored->entry.snapshot_us,
    };

    pulse_at(visit->backend->pulse, visit->route->pattern);
    switch (wanted_form(visit, &stored->entry)) {
    case WANTED_AS_STORED:
        send_as_stored(visit, stored, answer);
        break;
    case WANTED_PLAIN:
        send_plain(visit, stored, answer);
        break;
    case WANTED_CODED:
        send_coded(visit, stored, answer);
        break;
    case WANTED_NONE:
        respond_not_acceptable(visit);
        return;
    }
    count_response(&receipt);
}

/* `extra` is further header lines, each ended by CR LF, or "". */
static void send_problem(struct request *request, int status, const char *detail, const char *extra)
{
    char head[HEAD_BYTES];
    size_t body_len;
    const char *body = problem_body(request, status, detail, &body_len);
    int len = snprintf(head, sizeof head,
                       "Status: %d %s\r\n"
                       "Content-Type: application/problem+json\r\n"
                       "Content-Length: %zu\r\n"
                       "Cache-Control: no-store\r\n"
                       "%s\r\n",
                       status, http_reason(status), body_len, extra);
    const struct answer_bytes bytes = {
        .head = head,
        .head_len = (size_t)len,
        .body = body,
        .body_len = is_head_request(request) ? 0 : body_len,
    };
    request_answer(request, &bytes);
}

static const char *failure_detail(int status)
{
    switch (status) {
    case 400:
        return "The database refuses a value, of a parameter or of the data.";
    case 403:
        return "The request is not allowed.";
    case 409:
        return "The request conflicts with the state of the resource.";
    case 422:
        return "The request cannot be processed.";
    case 503:
        return "The response cannot be computed at the moment.";
    case 504:
        return "Computing the response took too long.";
    default:
        return "The response could not be computed.";
    }
}

/* One second or two, at random: those who were refused together do not come back together. */
static const char *retry_after(void)
{
    return (random_number() & 1) == 0 ? "Retry-After: 1\r\n" : "Retry-After: 2\r\n";
}

static void count_failure(const struct visit *visit, int status)
{
    struct metrics *metrics = visit->backend->metrics;

    metrics_response(metrics, visit->route, false, false,
                     clock_monotonic_us() - visit->request->received_us);
    metrics_failed(metrics, visit->route, status);
}

void respond_failure(struct visit *visit, int status, const char *detail, bool shared_failure)
{
    bool retry = status == 503 || (shared_failure && detail == NULL);

    count_failure(visit, status);
    send_problem(visit->request, status, detail != NULL ? detail : failure_detail(status),
                 retry ? retry_after() : "");
}

void respond_rationed(struct visit *visit, int64_t wait_us)
{
    char extra[64];

    snprintf(extra, sizeof extra, "Retry-After: %lld\r\n",
             (long long)((wait_us + 1000 * 1000 - 1) / (1000 * 1000)));
    metrics_client_refused(visit->backend->metrics);
    count_failure(visit, 429);
    send_problem(visit->request, 429,
                 "This client has asked for too much that is not in the cache.", extra);
}

void respond_not_acceptable(struct visit *visit)
{
    count_failure(visit, 406);
    send_problem(visit->request, 406, "No coding that Accept-Encoding allows is there.", "");
}

void respond_problem(struct request *request, int status, const char *detail)
{
    send_problem(request, status, detail, "");
}

void respond_allowed_methods(struct request *request, int status)
{
    static const char allow[] = "Allow: GET, HEAD, OPTIONS\r\n";
    static const char head[] = "Status: 204 No Content\r\nAllow: GET, HEAD, OPTIONS\r\n\r\n";
    const struct answer_bytes bytes = {.head = head, .head_len = sizeof head - 1};

    if (status == 204)
        request_answer(request, &bytes);
    else
        send_problem(request, status, "Only GET, HEAD and OPTIONS are served.", allow);
}

static void send_text(struct request *request, int status, const char *content_type,
                      const struct answer_bytes *text)
{
    char head[HEAD_BYTES];
    struct answer_bytes bytes = *text;

    bytes.head = head;
    bytes.head_len = (size_t)snprintf(head, sizeof head,
                                      "Status: %d %s\r\n"
                                      "Content-Type: %s\r\n"
                                      "Content-Length: %zu\r\n"
                                      "Cache-Control: no-store\r\n\r\n",
                                      status, http_reason(status), content_type, text->body_len);
    if (is_head_request(request))
        bytes.body_len = 0;
    request_answer(request, &bytes);
}

void respond_text_as(struct request *request, int status, const char *content_type,
                     const char *text, size_t len)
{
    const struct answer_bytes bytes = {.body = text, .body_len = len};

    send_text(request, status, content_type, &bytes);
}

void respond_long_text(struct request *request, const char *content_type, struct chunks *text)
{
    const struct answer_bytes bytes = {
        .chunks = text, .body_len = chunks_length(text), .shared = text};

    send_text(request, 200, content_type, &bytes);
}
