/* SPDX-License-Identifier: BSD-2-Clause */
/* Flights, with real fills, against a cache and a Postgres that do what each case says. A case is a
   text of steps, in order, and of what is to be seen (words with '='):

     join:X, leave:X      a reader A to H comes, a millisecond after whatever was before, or leaves
     take, store, ...     the oldest such request of the cache is answered; "take!" is away,
                          "take-" refused, "take?" uncertain; "take+" is done and told later
     hold, free           another process takes the lease for 2 s, or ends it
     mark:503, mark:large another's mark in the place of the lease
     put:AGE              an entry of that age in seconds, with the body 9
     purge                entry and lease are deleted, and what queries read is a number higher
     send, done, norow, away, slot, full, timeout, broken, bad    the oldest query is sent, or ends
     refused              it ends with an error that the server would tell others too
     pgaway, pgback       Postgres is known to be away, or there again
     noslots, slots       queries that are asked for from now on wait for a slot, or do not
     begin                the oldest that waits gets one
     giveup, settle       it times out and may run on for 7 s; the oldest such has ended
     news, untold         watches are told
     pass:MS, shift:MS    time goes on, of all; of the cache alone
     doubt, trust, turn   the identity is not verified, is again, has another generation
     large                queries read 2 kB more
     down                 the cache says that it is away
     abandon              the worker stops

     X=ANSWER             what reader X got, "waits" if nothing
     takes=N, queries=N   were asked for so far; likewise stores=, ends=, renews=, looks=, measures=
     waiting=N            visits; asked=N requests under way; flights=none or some
     watches=N            of the key
     withdrawn=N          queries that were so before they had begun
     failed=N, timeouts=N collapsed answers that were failures; bypasses=N queries without a lease
     noslot=N, noconnection=N, noroom=N   answers for want of that
     lease=WHAT           "free", "ours", "theirs" or the mark
     entry=BODY           "none" */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/flight.h"
#include "base/mem.h"
#include "fake_worker.h"

#define BASE "leeway:{long.0:=7}"

enum { READERS = 8 };

struct scene {
    const char *name;
    struct fake_worker *worker;
    struct fake_cache *cache;
    struct flights *flights;
    struct reader *readers[READERS];
    size_t route;
    size_t step;
    bool failed;
};

static struct scene *scene_new(const char *name, size_t route, const char *settings)
{
    struct fake_worker *worker = fake_worker_new(settings);
    struct scene *scene = mem_check(talloc_zero(worker, struct scene));

    scene->name = name;
    scene->worker = worker;
    scene->cache = worker->cache;
    scene->flights = flights_new(worker, worker->backend);
    scene->route = route;
    return scene;
}

/* All of a case's first failure is told, and the other cases are run all the same. */
#define wrong(scene, ...)                                                                          \
    do {                                                                                           \
        print_error("%s: step %zu: ", (scene)->name, (scene)->step);                               \
        print_error(__VA_ARGS__);                                                                  \
        print_error("\n");                                                                         \
        (scene)->failed = true;                                                                    \
    } while (0)

/* ---- Steps */

static void join(struct scene *scene, char name)
{
    fake_time_pass(1000);
    struct reader *reader = fake_worker_visit(scene->worker, scene, scene->route, BASE);
    scene->readers[name - 'A'] = reader;
    fake_time_pass(10);
    flights_join(scene->flights, reader->request->owner, scene->route != 2);
}

static void leave(struct scene *scene, char name)
{
    struct reader *reader = scene->readers[name - 'A'];

    if (reader == NULL || reader->request == NULL) {
        wrong(scene, "%c is not there to leave", name);
        return;
    }
    struct visit *visit = reader->request->owner;
    if (visit->state == VISIT_WAITING)
        flights_leave(visit);
    talloc_free(reader->request);
    reader->request = NULL;
}

static const struct {
    const char *name;
    enum fake_asked asked;
    const char *count;
} asked_names[] = {
    {"take", FAKE_TAKE, "takes"},          {"store", FAKE_STORE, "stores"},
    {"peek", FAKE_LOOK_AT_LEASE, "peeks"}, {"end", FAKE_END, "ends"},
    {"renew", FAKE_RENEW, "renews"},       {"look", FAKE_LOOK_UP, "looks"},
    {"measure", FAKE_MEASURE, "measures"}, {"shorten", FAKE_SHORTEN, "shortens"},
};

static bool answer_one(struct scene *scene, enum fake_asked asked, char way)
{
    switch (way) {
    case '+':
        return fake_cache_do(scene->cache, asked);
    case '!':
        return fake_cache_answer(scene->cache, asked, FAKE_AWAY);
    case '-':
        return fake_cache_answer(scene->cache, asked, FAKE_REFUSED);
    case '?':
        return fake_cache_answer(scene->cache, asked, FAKE_UNCERTAIN);
    default:
        return fake_cache_answer(scene->cache, asked, FAKE_DONE);
    }
}

/* true: it was one of these. */
static bool answer_cache(struct scene *scene, const char *word)
{
    size_t len = strcspn(word, "!-?+");

    for (size_t i = 0; i < COUNT_OF(asked_names); i++) {
        if (strlen(asked_names[i].name) != len || strncmp(word, asked_names[i].name, len) != 0)
            continue;
        fake_time_pass(100);
        if (!answer_one(scene, asked_names[i].asked, word[len]))
            wrong(scene, "no %s is under way", word);
        fake_time_run(scene->worker->loop);
        return true;
    }
    return false;
}

static void give_up_query(struct scene *scene, struct fake_query *query)
{
    fake_worker_send(scene->worker, query);
    fake_worker_end_with(scene->worker, query,
                         (struct query_result){.outcome = QUERY_TIMED_OUT, .hold_ms = 7000});
}

static void refuse_query(struct scene *scene, struct fake_query *query)
{
    fake_worker_send(scene->worker, query);
    fake_worker_end_with(scene->worker, query,
                         (struct query_result){.outcome = QUERY_AWAY, .told = true});
}

static bool do_query(struct scene *scene, const char *word)
{
    static const struct {
        const char *name;
        enum query_outcome outcome;
    } names[] = {
        {"done", QUERY_DONE},     {"norow", QUERY_NO_ROW},      {"away", QUERY_AWAY},
        {"slot", QUERY_NO_SLOT},  {"timeout", QUERY_TIMED_OUT}, {"broken", QUERY_BROKEN},
        {"bad", QUERY_BAD_VALUE}, {"full", QUERY_FULL},         {"giveup", QUERY_TIMED_OUT},
        {"refused", QUERY_AWAY},
    };
    struct fake_query *query = fake_worker_query(scene->worker);
    size_t i;

    for (i = 0; i < COUNT_OF(names) && strcmp(word, names[i].name) != 0; i++)
        ;
    if (i == COUNT_OF(names) && strcmp(word, "send") != 0)
        return false;
    fake_time_pass(100);
    if (query == NULL)
        wrong(scene, "no query is there for %s", word);
    else if (i == COUNT_OF(names))
        fake_worker_send(scene->worker, query);
    else if (strcmp(word, "giveup") == 0)
        give_up_query(scene, query);
    else if (strcmp(word, "refused") == 0)
        refuse_query(scene, query);
    else
        fake_worker_end(scene->worker, query, names[i].outcome);
    return true;
}

static void put_entry(struct scene *scene, const char *age)
{
    int64_t age_us = (int64_t)(atof(age) * 1e6);

    fake_cache_put(scene->cache, BASE, fake_cache_now_us(scene->cache) - age_us, 200, "9");
}

static bool change_world(struct scene *scene, const char *word)
{
    static const char token[] = "ffffffffffffffffffffffffffffffff";
    struct fake_worker *worker = scene->worker;

    if (strcmp(word, "hold") == 0)
        fake_cache_put_lease(scene->cache, BASE, token, LEASE_MS);
    else if (strcmp(word, "free") == 0)
        fake_cache_put_lease(scene->cache, BASE, NULL, 0);
    else if (strcmp(word, "mark:503") == 0)
        fake_cache_put_lease(scene->cache, BASE, "!503", LEASE_FAILED_MS);
    else if (strcmp(word, "mark:large") == 0)
        fake_cache_put_lease(scene->cache, BASE, "!too-large", LEASE_TOO_LARGE_MS);
    else if (strncmp(word, "put:", 4) == 0)
        put_entry(scene, word + 4);
    else if (strcmp(word, "doubt") == 0)
        worker->verified = false;
    else if (strcmp(word, "trust") == 0)
        worker->verified = true;
    else if (strcmp(word, "pgaway") == 0)
        worker->away = true;
    else if (strcmp(word, "pgback") == 0)
        worker->away = false;
    else if (strcmp(word, "noslots") == 0)
        worker->no_slots = true;
    else if (strcmp(word, "slots") == 0)
        worker->no_slots = false;
    else if (strcmp(word, "begin") == 0)
        fake_worker_query(worker)->waits = false;
    else if (strcmp(word, "turn") == 0)
        worker->generation++;
    else if (strcmp(word, "large") == 0)
        worker->padding = 2000;
    else if (strcmp(word, "down") == 0)
        fake_cache_set_up(scene->cache, false);
    else if (strcmp(word, "purge") == 0) {
        fake_cache_purge(scene->cache, BASE);
        worker->row++;
    } else
        return false;
    return true;
}

static bool do_step(struct scene *scene, const char *word)
{
    struct ev_loop *loop = scene->worker->loop;

    if (strncmp(word, "join:", 5) == 0)
        join(scene, word[5]);
    else if (strncmp(word, "leave:", 6) == 0)
        leave(scene, word[6]);
    else if (strcmp(word, "news") == 0)
        fake_cache_tell(scene->cache, BASE, CACHE_LOOK_NOW);
    else if (strcmp(word, "untold") == 0)
        fake_cache_tell(scene->cache, BASE, CACHE_NOT_TOLD);
    else if (strncmp(word, "pass:", 5) == 0)
        fake_time_advance(loop, atol(word + 5));
    else if (strncmp(word, "shift:", 6) == 0)
        fake_cache_shift(scene->cache, atol(word + 6) * 1000);
    else if (strcmp(word, "settle") == 0 && !fake_worker_settle(scene->worker))
        wrong(scene, "no query runs on");
    else if (strcmp(word, "settle") == 0)
        fake_time_run(loop);
    else if (strcmp(word, "abandon") == 0)
        flights_abandon(scene->flights);
    else
        return change_world(scene, word) || do_query(scene, word) || answer_cache(scene, word);
    return true;
}

/* ---- What is to be seen */

static void show_lease(struct scene *scene, char *out, size_t size)
{
    const char *lease = fake_cache_lease(scene->cache, BASE);

    if (lease == NULL)
        lease = "free";
    else if (lease[0] == 'f')
        lease = "theirs";
    else if (lease[0] != '!')
        lease = "ours";
    snprintf(out, size, "%s", lease);
}

static const char *show_reader(struct scene *scene, char name)
{
    const struct reader *reader = scene->readers[name - 'A'];

    if (reader == NULL)
        return "nobody";
    if (reader->answers > 1)
        return "answered twice";
    return reader->request != NULL ? "waits" : reader->answers == 0 ? "gone" : reader->answer;
}

static void show(struct scene *scene, const char *what, char *out, size_t size)
{
    const char *body = fake_cache_body(scene->cache, BASE);

    if (what[0] >= 'A' && what[0] <= 'H' && what[1] == '\0')
        snprintf(out, size, "%s", show_reader(scene, what[0]));
    else if (strcmp(what, "lease") == 0)
        show_lease(scene, out, size);
    else if (strcmp(what, "entry") == 0)
        snprintf(out, size, "%s", body != NULL ? body : "none");
    else if (strcmp(what, "waiting") == 0)
        snprintf(out, size, "%zu", flights_waiting(scene->flights));
    else if (strcmp(what, "queries") == 0)
        snprintf(out, size, "%zu", scene->worker->n_queries);
    else if (strcmp(what, "withdrawn") == 0)
        snprintf(out, size, "%u", scene->worker->withdrawn);
    else if (strcmp(what, "asked") == 0)
        snprintf(out, size, "%zu", fake_cache_under_way(scene->cache));
    else if (strcmp(what, "watches") == 0)
        snprintf(out, size, "%zu", fake_cache_watches(scene->cache, BASE));
    else if (strcmp(what, "flights") == 0)
        snprintf(out, size, "%s", talloc_total_blocks(scene->flights) == 1 ? "none" : "some");
    else if (strcmp(what, "failed") == 0)
        snprintf(out, size, "%u", scene->worker->collapsed[COLLAPSE_FAILED]);
    else if (strcmp(what, "timeouts") == 0)
        snprintf(out, size, "%u", scene->worker->collapsed[COLLAPSE_TIMEOUT]);
    else if (strcmp(what, "noslot") == 0)
        snprintf(out, size, "%u", scene->worker->shed[SHED_SLOT]);
    else if (strcmp(what, "noconnection") == 0)
        snprintf(out, size, "%u", scene->worker->shed[SHED_CONNECTION]);
    else if (strcmp(what, "noroom") == 0)
        snprintf(out, size, "%u", scene->worker->shed[SHED_WAITING]);
    else if (strcmp(what, "bypasses") == 0)
        snprintf(out, size, "%u", scene->worker->counted_queries[QUERY_BYPASS]);
    for (size_t i = 0; i < COUNT_OF(asked_names); i++)
        if (strcmp(what, asked_names[i].count) == 0)
            snprintf(out, size, "%zu", fake_cache_count(scene->cache, asked_names[i].asked));
}

static void expect(struct scene *scene, char *word)
{
    char seen[FAKE_ANSWER_BYTES] = "?";
    char *wanted = strchr(word, '=');

    *wanted++ = '\0';
    show(scene, word, seen, sizeof seen);
    if (strcmp(seen, wanted) != 0)
        wrong(scene, "%s is %s and not %s", word, seen, wanted);
}

static bool run(const char *name, const char *text, size_t route, const char *settings)
{
    struct scene *scene = scene_new(name, route, settings);
    char *words = mem_check(talloc_strdup(scene, text)), *rest = words, *word;

    while (!scene->failed && (word = strtok_r(rest, " ", &rest)) != NULL) {
        scene->step++;
        if (strchr(word, '=') != NULL)
            expect(scene, word);
        else if (!do_step(scene, word))
            wrong(scene, "what is %s?", word);
    }
    bool failed = scene->failed;
    talloc_free(scene->worker);
    return failed;
}

struct flight_case {
    const char *name;
    const char *steps;
};

static void run_all(const struct flight_case *cases, size_t count, size_t route,
                    const char *settings)
{
    size_t failures = 0;

    for (size_t i = 0; i < count; i++)
        failures += run(cases[i].name, cases[i].steps, route, settings);
    check(failures == 0, "%zu of %zu cases", failures, count);
}

static const struct flight_case miss_cases[] = {
    {"a miss", "join:A A=waits takes=1 asked=1 flights=some waiting=1 take lease=ours queries=1 "
               "done stores=1 A=waits store A=miss*:1 entry=1 lease=free waiting=0 flights=none "
               "asked=0 watches=0"},
    {"its crowd",
     "join:A join:B take join:C queries=1 takes=1 send join:D done store A=miss*:1 B=collapsed:1 "
     "C=collapsed:1 D=collapsed:1 failed=0 waiting=0 flights=none asked=0 watches=0"},
    {"a 404", "join:A join:B take norow store A=miss*:404 B=collapsed:404 waiting=0 flights=none "
              "asked=0 watches=0"},
    {"the entry has come meanwhile", "put:5 join:A take A=collapsed:9 queries=0 end lease=free "
                                     "waiting=0 flights=none asked=0 watches=0"},
    {"a stale one will do", "put:55 join:A take A=collapsed:9 end lease=free queries=0 waiting=0 "
                            "flights=none asked=0 watches=0"},
    {"one past its budget will not", "put:60 join:A take A=waits lease=ours done store A=miss*:1 "
                                     "entry=1 waiting=0 flights=none asked=0 watches=0"},
    {"one that is in the future will not",
     "put:-100 join:A take done store A=miss:1 entry=9 waiting=0 flights=none asked=0 watches=0"},
    {"who comes while the lease is looked at, before the entry was read, looks once more",
     "put:5 join:A join:B take A=collapsed:9 B=waits takes=2 end lease=free take B=collapsed:9 end "
     "lease=free waiting=0 flights=none asked=0 watches=0"},
    {"who comes after a purge that the answer under way has not seen",
     "put:5 join:A take+ purge join:B take A=collapsed:9 B=waits end take queries=1 done store "
     "B=miss*:2 entry=2 waiting=0 flights=none asked=0 watches=0"},
    {"likewise where another holds the lease",
     "put:5 hold join:A take+ purge join:B take A=collapsed:9 B=waits take lease=ours done store "
     "B=miss*:2 waiting=0 flights=none asked=0 watches=0"},
    {"the lease is won before who comes then: the query is for both",
     "join:A take+ purge join:B take queries=1 done A=waits store A=miss:2 B=waits entry=none take "
     "done store B=miss*:2 queries=2 waiting=0 flights=none asked=0 watches=0"},
    {"an answer that is past the budget when it comes: once more",
     "join:A take send pass:61000 done renews=1 end A=waits take lease=ours queries=2 send done "
     "store A=miss*:1 waiting=0 flights=none asked=0 watches=0"},
    {"and twice",
     "join:A take send pass:61000 done renews=1 end take send pass:61000 done renews=2 "
     "end A=504 queries=2 waiting=0 flights=none asked=0 watches=0"},
};

static const struct flight_case lease_cases[] = {
    {"another leads: watch, look again, and again when told",
     "hold join:A take A=waits watches=1 queries=0 news takes=2 take A=waits put:1 free news "
     "takes=3 take A=collapsed:9 end lease=free queries=0 waiting=0 flights=none asked=0 "
     "watches=0"},
    {"a crowd that waits is told at once",
     "hold join:A join:B take news take join:C put:0 free news join:D take A=collapsed:9 "
     "B=collapsed:9 C=collapsed:9 D=waits end take D=collapsed:9 end waiting=0 flights=none "
     "asked=0 watches=0"},
    {"the leader ends without a store: one takes over",
     "hold join:A join:B take news take free news take lease=ours queries=1 watches=0 done store "
     "A=miss*:1 B=collapsed:1 waiting=0 flights=none asked=0 watches=0"},
    {"told before the first answer: nothing was watched yet",
     "hold join:A take+ free news take A=waits takes=1 watches=1 news take queries=1 done store "
     "A=miss*:1 waiting=0 flights=none asked=0 watches=0"},
    {"told while it looks again: the answer is from before",
     "hold join:A take news take+ put:1 free news take A=waits takes=3 take A=collapsed:9 end "
     "waiting=0 flights=none asked=0 watches=0"},
    {"told twice while it looks",
     "hold join:A take news take+ news news take takes=3 take A=waits news take"},
    {"told while it looks, and the lease is won",
     "hold join:A take news free news take queries=1 takes=2 done store A=miss*:1 waiting=0 "
     "flights=none asked=0 watches=0"},
    {"told while it looks, and the entry is there",
     "hold join:A take news put:1 free news take A=collapsed:9 end takes=2 waiting=0 flights=none "
     "asked=0 watches=0"},
    {"the leader dies: its lease runs out",
     "hold join:A take news take pass:1000 takes=2 pass:1100 takes=3 take queries=1 lease=ours "
     "done store A=miss*:1 waiting=0 flights=none asked=0 watches=0"},
    {"the lease is renewed by its leader",
     "hold join:A take news take pass:1500 hold pass:600 takes=3 take A=waits pass:1300 takes=3 "
     "pass:150 takes=4 take queries=1 done store A=miss*:1 waiting=0 flights=none asked=0 "
     "watches=0"},
    {"a failure of another", "hold join:A join:B take news take mark:503 news take A=503~ B=503~ "
                             "failed=2 waiting=0 flights=none asked=0 watches=0"},
    {"a mark that was there",
     "mark:503 join:A take A=503~ queries=0 waiting=0 flights=none asked=0 watches=0"},
    {"too large, as another has found",
     "mark:large join:A join:B take queries=1 bypasses=0 send join:C done measures=1 measure "
     "A=too-large:1 B=too-large:1 C=waits take done bypasses=2 measure C=too-large:1 "
     "lease=!too-large waiting=0 flights=none asked=0 watches=0"},
    {"the subscription is refused: it looks every 100 ms",
     "hold join:A take untold takes=2 take pass:90 takes=2 pass:15 takes=3 take put:1 free "
     "pass:105 takes=4 take A=collapsed:9 end waiting=0 flights=none asked=0 watches=0"},
    {"and again told: it waits for the lease's end",
     "hold join:A take untold take news takes=3 take pass:1000 takes=3 pass:1100 takes=4 take "
     "queries=1"},
    {"refused while it looks",
     "hold join:A take news untold take A=waits takes=3 take pass:105 takes=4"},
    {"two looks do not run beside each other",
     "hold join:A take news news pass:3000 takes=2 asked=1"},
    {"a look that is not answered does not hold up another key's end",
     "hold join:A take news leave:A asked=0 flights=none"},
};

static const struct flight_case away_cases[] = {
    {"the cache is away", "join:A join:B take! queries=1 done measure! A=no-redis:1 B=no-redis:1 "
                          "bypasses=1 waiting=0 flights=none asked=0 watches=0"},
    {"it refuses writes", "join:A take- queries=1 done measure A=no-redis:1 lease=free waiting=0 "
                          "flights=none asked=0 watches=0"},
    {"nobody knows whether the lease was taken: it is given up",
     "join:A take? queries=1 lease=free done measure A=no-redis:1 waiting=0 flights=none asked=0 "
     "watches=0"},
    {"who comes before a query without a lease is sent",
     "join:A take! join:B send done measure A=no-redis:1 B=no-redis:1 queries=1 waiting=0 "
     "flights=none asked=0 watches=0"},
    {"who comes after it was sent",
     "join:A take! send purge join:B done measure A=no-redis:1 B=waits take lease=ours queries=2 "
     "done store B=miss*:2 waiting=0 flights=none asked=0 watches=0"},
    {"it goes away while another leads", "hold join:A take news take! queries=1 done measure! "
                                         "A=no-redis:1 waiting=0 flights=none asked=0 watches=0"},
    {"and says nothing of its clock",
     "join:A take! send pass:10 done pass:249 A=waits pass:2 A=no-redis:1 measure waiting=0 "
     "flights=none asked=0 watches=0"},
    {"a mark is set without the cache",
     "join:A take! away A=503 ends=0 queries=1 waiting=0 flights=none asked=0 watches=0"},
};

/* A query that waits for a slot; slot_timeout is 1 s. */
static const struct flight_case slot_cases[] = {
    {"nobody waits any more", "noslots join:A take lease=ours leave:A withdrawn=1 end lease=free "
                              "waiting=0 flights=none asked=0 watches=0"},
    {"one of two does", "noslots join:A join:B take leave:A withdrawn=0 begin done store "
                        "B=collapsed:1 entry=1 waiting=0 flights=none asked=0 watches=0"},
    {"it has begun", "noslots join:A take begin leave:A withdrawn=0 done store entry=1 waiting=0 "
                     "flights=none asked=0 watches=0"},
    {"each waits from its own arrival",
     "noslots join:A take pass:500 join:B pass:550 A=503 B=waits withdrawn=0 renew pass:400 "
     "B=waits "
     "pass:60 B=503~ withdrawn=1 end lease=free waiting=0 flights=none asked=0 watches=0"},
    {"and no longer once it has begun", "noslots join:A take pass:500 begin pass:600 renew "
                                        "pass:600 A=waits renew done store A=miss*:1 "
                                        "waiting=0 flights=none asked=0 watches=0"},
    {"who has waited for another's query as long does not wait anew",
     "hold join:A take news take pass:1500 noslots free news take pass:10 A=503 withdrawn=1 end "
     "lease=free waiting=0 flights=none asked=0 watches=0"},
    {"what would not be stored is given up with its client, and who comes next waits for its end",
     "mark:large join:A take send leave:A flights=some join:B B=waits queries=1 settle takes=2 "
     "take "
     "queries=2 done measure B=too-large:1 waiting=0 flights=none asked=0 watches=0"},
    {"he leaves too",
     "mark:large join:A take send leave:A join:B leave:B queries=1 waiting=0 settle "
     "flights=none asked=0 watches=0"},
    {"a stop meanwhile",
     "mark:large join:A take send leave:A join:B abandon B=503~ settle waiting=0 "
     "flights=none asked=0 watches=0"},
};

/* Postgres is away for this worker, and the lease is not asked for. */
static const struct flight_case unable_cases[] = {
    {"nobody leads", "pgaway join:A takes=0 peek A=503 lease=free queries=0 ends=0 waiting=0 "
                     "flights=none asked=0 watches=0"},
    {"another leads", "hold pgaway join:A peek A=waits watches=1 news peek put:1 free news peek "
                      "A=collapsed:9 takes=0 ends=0 waiting=0 flights=none asked=0 watches=0"},
    {"another led", "hold pgaway join:A peek news peek A=waits free news peek A=503 queries=0 "
                    "waiting=0 flights=none asked=0 watches=0"},
    {"another has stored meanwhile", "put:1 pgaway join:A peek A=collapsed:9 ends=0 waiting=0 "
                                     "flights=none asked=0 watches=0"},
    {"another was told of a failure", "mark:503 pgaway join:A peek A=503~ failed=1 waiting=0 "
                                      "flights=none asked=0 watches=0"},
    {"who comes meanwhile looks for oneself",
     "put:1 pgaway join:A join:B peek A=collapsed:9 B=waits peek B=collapsed:9 ends=0 waiting=0 "
     "flights=none asked=0 watches=0"},
    {"it is back before that is known", "pgaway join:A pgback peek takes=1 take done store "
                                        "A=miss*:1 waiting=0 flights=none asked=0 watches=0"},
    {"it is back while another leads",
     "hold pgaway join:A peek news peek pgback free news take lease=ours done store A=miss*:1 "
     "waiting=0 flights=none asked=0 watches=0"},
    {"it goes while the lease is asked for",
     "join:A pgaway take away A=503 end lease=free waiting=0 flights=none asked=0 watches=0"},
    {"the cache is away too",
     "pgaway join:A peek! away A=503 waiting=0 flights=none asked=0 watches=0"},
    {"all leave", "pgaway join:A leave:A asked=0 waiting=0 flights=none asked=0 watches=0"},
};

static const struct flight_case store_cases[] = {
    {"a store that is refused",
     "join:A join:B take send done store- A=no-redis:1 ends=1 end lease=free entry=none B=waits "
     "take done store B=miss*:1 waiting=0 flights=none asked=0 watches=0"},
    {"a store that nobody knows of", "join:A take send done store? A=no-redis:1 entry=1 end "
                                     "lease=free waiting=0 flights=none asked=0 watches=0"},
    {"a store that is not answered in time",
     "join:A take send done pass:249 A=waits pass:2 A=no-redis:1 flights=none store entry=1 ends=0 "
     "waiting=0 flights=none asked=0 watches=0"},
    {"and was not done", "join:A take send done pass:251 A=no-redis:1 store! ends=1 end lease=free "
                         "waiting=0 flights=none asked=0 watches=0"},
    {"who comes while nobody knows of a store",
     "join:A take send join:B done pass:251 A=no-redis:1 B=waits takes=2"},
    {"purged while its query ran",
     "join:A take send purge join:B done store A=miss:1 B=waits entry=none take done store "
     "B=miss*:2 queries=2 waiting=0 flights=none asked=0 watches=0"},
    {"purged behind the store, before who comes: the store is not for them",
     "join:A take send done store+ purge join:B store A=miss*:1 B=waits take queries=2 done store "
     "B=miss*:2 waiting=0 flights=none asked=0 watches=0"},
    {"not purged: who comes while it is stored has it from the cache",
     "join:A take send done store+ join:B store A=miss*:1 B=waits take B=collapsed:1 end queries=1 "
     "lease=free waiting=0 flights=none asked=0 watches=0"},
    {"three that came one after another, each after a purge",
     "join:A take send purge join:B purge join:C done store A=miss:1 B=waits C=waits take "
     "queries=2 send purge join:D done store B=miss:3 C=collapsed:3 D=waits take done store "
     "D=miss*:4 queries=3 waiting=0 flights=none asked=0 watches=0"},
    {"a newer one is there", "join:A take send put:-1 pass:10 done store A=miss:1 entry=9 "
                             "lease=free waiting=0 flights=none asked=0 watches=0"},
    {"a store that a look-up overtakes",
     "join:A take send done join:B store A=miss*:1 B=waits take B=collapsed:1 end waiting=0 "
     "flights=none asked=0 watches=0"},
    {"the lease ran out and another holds it",
     "join:A take send pass:2100 hold join:B done store A=miss:1 B=waits take B=waits queries=1 "
     "put:0 free news take B=collapsed:9 end"},
    {"the lease is found to be lost by a renewal",
     "join:A take send purge pass:600 renews=1 renew join:B takes=2 take lease=ours queries=2 done "
     "measures=1 measure A=miss:1 done store B=miss*:2 waiting=0 flights=none asked=0 watches=0"},
    {"renewed every 600 ms",
     "join:A take send pass:600 renew pass:600 renew pass:600 renews=3 renew lease=ours pass:500 "
     "lease=ours done store A=miss*:1 waiting=0 flights=none asked=0 watches=0"},
    {"one renewal at a time", "join:A take send pass:1900 renews=1 renew pass:600 renews=2"},
    {"a renewal under way when the query ends",
     "join:A take send pass:600 renews=1 done stores=1 renew store A=miss*:1 waiting=0 "
     "flights=none asked=0 watches=0"},
    {"and is not answered before the store", "join:A take send pass:600 done store A=miss*:1 "
                                             "entry=1 waiting=0 flights=none asked=0 watches=0"},
    {"a renewal tells of the loss while it is stored",
     "join:A take send purge pass:600 done renew join:B takes=2 store A=miss:1 take done store "
     "B=miss*:2 waiting=0 flights=none asked=0 watches=0"},
    {"a renewal that fails says nothing",
     "join:A take send pass:600 renew! pass:600 renew? pass:300 done store A=miss*:1 waiting=0 "
     "flights=none asked=0 watches=0"},
    {"who came after the lease was last confirmed waits for another query",
     "join:A take send pass:600 renew join:B purge done store A=miss:1 B=waits take done store "
     "B=miss*:2 waiting=0 flights=none asked=0 watches=0"},
    {"of another generation than its key",
     "join:A take send turn done stores=0 ends=1 end A=miss:1 lease=free entry=none waiting=0 "
     "flights=none asked=0 watches=0"},
    {"not verified any more", "join:A take send doubt done stores=0 end A=miss:1 lease=free "
                              "waiting=0 flights=none asked=0 watches=0"},
};

static const struct flight_case failure_cases[] = {
    {"a failure is told to all, and marked",
     "join:A join:B take send timeout A=504 B=504~ failed=1 ends=1 end lease=!504 waiting=0 "
     "flights=none asked=0 watches=0"},
    {"without waiting for the cache",
     "join:A take broken A=500 asked=1 flights=none join:B takes=2 end lease=!500 take B=500~ "
     "waiting=0 flights=none asked=0 watches=0"},
    {"no slot is ours alone",
     "join:A join:B take slot A=503 B=503~ noslot=2 end lease=free waiting=0 "
     "flights=none asked=0 watches=0"},
    {"away: others may have a connection",
     "join:A take away A=503 end lease=free waiting=0 flights=none asked=0 watches=0"},
    {"away while it ran",
     "join:A take send away A=503 end lease=free waiting=0 flights=none asked=0 watches=0"},
    {"the server said so of the query",
     "join:A take refused A=503 end lease=!503 waiting=0 flights=none asked=0 watches=0"},
    {"a wrong value",
     "join:A take bad A=400 end lease=!400 waiting=0 flights=none asked=0 watches=0"},
    {"the leader has left: all others share it",
     "join:A join:B take leave:A timeout B=504~ failed=1 end waiting=0 flights=none asked=0 "
     "watches=0"},
    {"not verified when it is asked",
     "doubt join:A A=503~ asked=0 waiting=0 flights=none asked=0 watches=0"},
    {"not verified when the answer comes",
     "join:A doubt take A=503~ end lease=free queries=0 waiting=0 flights=none asked=0 watches=0"},
    {"not verified, with an entry",
     "put:1 join:A doubt take A=503~ end waiting=0 flights=none asked=0 watches=0"},
    {"not verified while it waits", "hold join:A take news take doubt news A=503~ asked=0 "
                                    "waiting=0 flights=none asked=0 watches=0"},
    {"not verified at the recheck",
     "hold join:A take doubt pass:2100 A=503~ waiting=0 flights=none asked=0 watches=0"},
};

static const struct flight_case runs_on_cases[] = {
    {"a query that runs on: the key is marked",
     "join:A take send giveup A=waits ends=1 end A=504 lease=!504 flights=none join:B take B=504~ "
     "pass:1100 lease=!504 settle shortens=1 lease=free waiting=0 flights=none asked=0 watches=0"},
    {"and has ended soon",
     "join:A take send giveup end pass:100 settle lease=!504 pass:850 lease=!504 pass:60 "
     "lease=free waiting=0 flights=none asked=0 watches=0"},
    {"the mark is refused: who comes is told until it has ended",
     "join:A take send giveup end- A=504 flights=some join:B B=504~ takes=1 failed=1 settle "
     "flights=none join:C takes=2"},
    {"the mark is not answered in time",
     "join:A take send giveup pass:251 A=504 flights=some join:B B=504~ end settle waiting=0 "
     "flights=none asked=0 watches=0"},
    {"the mark is lost to a purge", "join:A take send purge giveup end A=504 flights=some settle "
                                    "waiting=0 flights=none asked=0 watches=0"},
    {"it has ended before the mark is answered",
     "join:A take send giveup settle A=waits end- A=504 flights=none join:B takes=2"},
    {"without the cache",
     "join:A take! send giveup A=504 join:B B=504~ takes=1 settle flights=none join:C takes=2"},
    {"without the cache, joined before it was sent",
     "join:A take! join:B send giveup A=504 B=504~ failed=1 settle waiting=0 flights=none asked=0 "
     "watches=0"},
    {"a stop while it runs on", "join:A take! send giveup abandon flights=some settle waiting=0 "
                                "flights=none asked=0 watches=0"},
    {"the worker ends while it runs on", "join:A take! send giveup flights=some"},
    {"a failure that is this process's own",
     "join:A take send doubt giveup A=504 end lease=free flights=some settle shortens=0 waiting=0 "
     "flights=none asked=0 watches=0"},
    {"no more connections: ours alone",
     "join:A take full A=503 ends=1 end lease=free waiting=0 flights=none asked=0 watches=0"},
};

static const struct flight_case gone_cases[] = {
    {"the leader leaves, and who comes in its place is no leader",
     "join:A take leave:A join:B timeout B=504~ failed=1 end waiting=0 flights=none asked=0 "
     "watches=0"},
    {"the client leaves while the lease is asked for",
     "join:A leave:A asked=0 lease=free waiting=0 flights=none asked=0 watches=0"},
    {"and it was won meanwhile",
     "join:A take+ lease=ours leave:A lease=free waiting=0 flights=none asked=0 watches=0"},
    {"one of two", "join:A join:B leave:A take queries=1 done store B=miss*:1 waiting=0 "
                   "flights=none asked=0 watches=0"},
    {"while another leads", "hold join:A take watches=1 leave:A watches=0 lease=theirs waiting=0 "
                            "flights=none asked=0 watches=0"},
    {"one of two that wait", "hold join:A join:B take leave:A waiting=1 news take put:1 free news "
                             "take B=collapsed:9 end waiting=0 flights=none asked=0 watches=0"},
    {"while it looks again",
     "hold join:A take news asked=1 leave:A asked=0 waiting=0 flights=none asked=0 watches=0"},
    {"a query runs on for the next",
     "join:A take send leave:A waiting=0 flights=some join:B done store B=collapsed:1 entry=1 "
     "waiting=0 flights=none asked=0 watches=0"},
    {"a query runs on for nobody", "join:A take send leave:A done store entry=1 lease=free "
                                   "waiting=0 flights=none asked=0 watches=0"},
    {"it fails for nobody",
     "join:A take send leave:A refused end lease=!503 waiting=0 flights=none asked=0 watches=0"},
    {"leaves while it is stored",
     "join:A take send done leave:A store entry=1 waiting=0 flights=none asked=0 watches=0"},
    {"leaves when it was lost",
     "join:A take send purge pass:600 renew leave:A join:B take done store B=miss*:2 settle "
     "waiting=0 flights=none asked=0 watches=0"},
    {"leaves, and who comes late goes on",
     "join:A take send purge join:B leave:A done store B=waits take done store B=miss*:2 waiting=0 "
     "flights=none asked=0 watches=0"},
};

static const struct flight_case deadline_cases[] = {
    {"handed on to a flight that waits already, it gives up first",
     "join:A take send join:B purge pass:610 renew hold pass:1390 join:C take C=waits pass:1990 "
     "hold pass:20 take pass:1990 hold pass:20 take done measure B=waits waiting=2 pass:1990 hold "
     "pass:20 take pass:1990 hold pass:20 B=504~ C=waits timeouts=1 waiting=1"},
    {"the longest wait is 10 s",
     "hold join:A take pass:1990 hold pass:20 take pass:1990 hold pass:20 take pass:1990 hold "
     "pass:20 take pass:1990 hold pass:20 take pass:1900 A=waits pass:80 A=504~ timeouts=1 "
     "queries=0 takes=5 waiting=0 flights=none asked=0 watches=0"},
    {"each by its own arrival",
     "hold join:A take pass:1990 hold pass:20 take pass:1990 hold pass:20 take join:B pass:1990 "
     "hold pass:20 take pass:1990 hold pass:20 take pass:1900 A=waits pass:90 A=504~ B=waits "
     "timeouts=1 waiting=1 free pass:200 take queries=1 done store B=miss*:1 waiting=0 "
     "flights=none asked=0 watches=0"},
    {"the cache does not answer at all",
     "join:A pass:9900 A=waits pass:200 A=504~ asked=0 waiting=0 flights=none asked=0 watches=0"},
    {"a query of one's own is not given up", "join:A take send pass:9000 renew pass:2000 A=waits"},
    {"handed on, it counts from the arrival",
     "join:A take send purge join:B pass:8900 done renews=1 store A=miss:1 B=waits hold take "
     "B=waits pass:990 B=waits pass:200 B=504~ waiting=0 flights=none watches=0"},
    {"one who comes later to a flight that waits",
     "hold join:A take pass:1990 hold pass:20 take pass:1990 hold pass:20 take join:B leave:A "
     "pass:1990 hold pass:20 take pass:1990 hold pass:20 take pass:1990 hold pass:20 take B=waits "
     "pass:1900 B=waits hold pass:200 take pass:1950 hold pass:20 B=504~ timeouts=1 waiting=0 "
     "flights=none asked=0 watches=0"},
};

static const struct flight_case stop_cases[] = {
    {"while the lease is asked for",
     "join:A abandon A=503~ asked=0 waiting=0 flights=none asked=0 watches=0"},
    {"while another leads",
     "hold join:A join:B take abandon A=503~ B=503~ waiting=0 flights=none asked=0 watches=0"},
    {"while its query runs", "join:A take send abandon A=503~ waiting=0 flights=some done store "
                             "entry=1 waiting=0 flights=none asked=0 watches=0"},
    {"while it is stored",
     "join:A take send done abandon A=503~ store entry=1 waiting=0 flights=none asked=0 watches=0"},
    {"nothing waits", "abandon waiting=0 flights=none asked=0 watches=0"},
};

static const struct flight_case error_cases[] = {
    {"no more connections", "put:20 join:A take full A=waits end lease=free look A=on-error:9 "
                            "noconnection=1 "
                            "waiting=0 flights=none asked=0 watches=0"},
    {"a query that runs on",
     "put:20 join:A take! send giveup looks=1 join:B looks=2 look A=on-error:9 look B=on-error:9 "
     "flights=some join:C look C=on-error:9 takes=1 queries=1 settle waiting=0 flights=none "
     "asked=0 "
     "watches=0"},
    {"a query that runs on, and there is no entry",
     "join:A take! send giveup look A=504 join:B B=waits look! B=504~ failed=1 takes=1 settle "
     "waiting=0 flights=none asked=0 watches=0"},
    {"a query that runs on, and who comes then leaves",
     "put:20 join:A take! send giveup look A=on-error:9 join:B leave:B asked=0 flights=some settle "
     "waiting=0 flights=none asked=0 watches=0"},
    {"it has ended before the entry is looked up",
     "put:20 join:A take! send giveup looks=1 settle join:B takes=2 look A=on-error:9 leave:B "
     "waiting=0 flights=none asked=0 watches=0"},
    {"it runs on, and its client leaves while it is looked up",
     "put:20 join:A take! send giveup leave:A flights=some asked=0 join:B look B=on-error:9 settle "
     "waiting=0 flights=none asked=0 watches=0"},
    {"an entry past its budget while Postgres is away",
     "put:20 join:A join:B take away A=waits B=waits looks=1 end look A=on-error:9 B=on-error:9 "
     "failed=0 waiting=0 flights=none asked=0 watches=0"},
    {"a time-out",
     "put:20 join:A take timeout look A=on-error:9 end waiting=0 flights=none asked=0 watches=0"},
    {"not after an error in the query",
     "put:20 join:A take broken A=500 looks=0 end waiting=0 flights=none asked=0 watches=0"},
    {"no slot", "put:20 join:A join:B take slot A=waits looks=1 end lease=free look A=on-error:9 "
                "noslot=2 noconnection=0 noroom=0 "
                "B=on-error:9 waiting=0 flights=none asked=0 watches=0"},
    {"not for a wrong value",
     "put:20 join:A take bad A=400 looks=0 end waiting=0 flights=none asked=0 watches=0"},
    {"none is there", "join:A join:B take away end look A=503 B=503~ failed=1 waiting=0 "
                      "flights=none asked=0 watches=0"},
    {"one too old",
     "put:3700 join:A take away end look A=503 waiting=0 flights=none asked=0 watches=0"},
    {"the cache is away",
     "put:20 join:A take! away look! A=503 waiting=0 flights=none asked=0 watches=0"},
    {"it is not answered",
     "put:20 join:A take away end look? A=503 waiting=0 flights=none asked=0 watches=0"},
    {"a mark of another's", "put:20 mark:503 join:A take looks=1 look A=on-error:9 queries=0 "
                            "waiting=0 flights=none asked=0 watches=0"},
    {"another's mark, none is there",
     "mark:503 join:A take look A=503~ failed=1 waiting=0 flights=none asked=0 watches=0"},
    {"the deadline",
     "put:20 hold join:A take pass:1990 hold pass:20 take pass:1990 hold pass:20 take pass:1990 "
     "hold pass:20 take pass:1990 hold pass:20 take pass:1900 A=waits pass:80 A=waits looks=1 "
     "watches=0 look A=on-error:9 timeouts=0 failed=0 waiting=0 flights=none asked=0 watches=0"},
    {"the deadline, and the client leaves",
     "put:20 hold join:A pass:10100 A=waits looks=1 asked=1 leave:A asked=0 waiting=0 flights=none "
     "asked=0 watches=0"},
    {"the deadline of one, while the other goes on",
     "put:20 join:A pass:5000 join:B pass:5100 looks=1 take B=waits queries=1 look A=on-error:9 "
     "done store B=miss*:1 waiting=0 flights=none asked=0 watches=0"},
    {"who comes while it is looked up begins anew",
     "put:20 join:A take refused end look+ join:B takes=2 look A=on-error:9 B=waits take look "
     "B=on-error:9 waiting=0 flights=none asked=0 watches=0"},
    {"twice past the budget when it comes",
     "put:20 join:A take send pass:61000 done renews=1 store A=waits take send pass:61000 done "
     "store A=waits look A=on-error:9 waiting=0 flights=none asked=0 watches=0"},
    {"twice past the budget when it comes, and there is nothing",
     "join:A take send pass:61000 done renews=1 store A=waits take send pass:61000 done store look "
     "A=504 waiting=0 flights=none asked=0 watches=0"},
    {"purged before it is looked up",
     "put:20 join:A take away end purge look A=503 waiting=0 flights=none asked=0 watches=0"},
    {"of another generation by then",
     "put:20 join:A take away end turn look A=503 waiting=0 flights=none asked=0 watches=0"},
    {"not verified by then",
     "put:20 join:A take away end doubt look A=503 waiting=0 flights=none asked=0 watches=0"},
    {"leaves while it is looked up",
     "put:20 join:A take away end leave:A asked=0 waiting=0 flights=none asked=0 watches=0"},
    {"one of two leaves while it is looked up",
     "put:20 join:A join:B take away end leave:A look B=on-error:9 waiting=0 flights=none asked=0 "
     "watches=0"},
    {"a stop while it is looked up",
     "put:20 join:A take away end abandon A=503~ asked=0 waiting=0 flights=none asked=0 watches=0"},
    {"a fresh one has come meanwhile", "put:20 join:A take away end put:1 look A=collapsed:9 "
                                       "waiting=0 flights=none asked=0 watches=0"},
};

static const struct flight_case alone_cases[] = {
    {"a context without a budget is never shared",
     "join:A join:B queries=2 takes=0 done A=no-budget:1 B=waits done B=no-budget:1 asked=0 "
     "bypasses=2 measures=0 waiting=0 flights=none asked=0 watches=0"},
    {"nor is its failure", "join:A join:B away A=503 B=waits done B=no-budget:1 looks=0 ends=0 "
                           "waiting=0 flights=none asked=0 watches=0"},
    {"its client leaves",
     "join:A send leave:A queries=1 flights=some settle waiting=0 flights=none asked=0 watches=0"},
    {"a stop", "join:A abandon A=503~ done waiting=0 flights=none asked=0 watches=0"},
};

static const struct flight_case clock_cases[] = {
    {"this machine stood still: by the cache's clock the answer is too old, once more",
     "join:A take send shift:61000 pass:10 done store A=waits takes=2 take B=nobody queries=2 send "
     "pass:10 done store A=miss*:1 waiting=0 flights=none asked=0 watches=0"},
    {"and again: it is given up",
     "join:A take send shift:61000 pass:10 done store A=waits take send shift:61000 pass:10 done "
     "store A=504 waiting=0 flights=none asked=0 watches=0"},
    {"the cache is away and its clock unknown: one's own counts",
     "join:A take! send shift:61000 down done measure! A=no-redis:1 waiting=0 flights=none asked=0 "
     "watches=0"},
};

/* max_object is 1 kB. */
static const struct flight_case large_cases[] = {
    {"too large: it is served, and marked",
     "large join:A join:B take send done stores=0 ends=1 A=waits "
     "end A=too-large:1 B=too-large:1 lease=!too-large"
     " waiting=0 flights=none asked=0"},
    {"who comes while it is marked goes on",
     "large join:A take send done end+ join:B end A=too-large:1 B=waits take queries=2 done "
     "bypasses=1 measure B=too-large:1 waiting=0 flights=none asked=0 watches=0"},
    {"the mark is not answered in time",
     "large join:A take send done pass:251 A=too-large:1 flights=none end asked=0"},
    {"lost", "large join:A take send purge join:B done end A=too-large:1 B=waits lease=free take "
             "lease=ours"},
};

/* max_waiting is 2. */
static const struct flight_case full_cases[] = {
    {"more than may wait", "join:A join:B join:C C=503 noroom=1 waiting=2 take done store A=miss*:1"
                           " B=collapsed:1 join:D D=waits waiting=1"},
    {"who leaves makes room", "join:A join:B leave:A join:C C=waits waiting=2"},
    {"what runs for nobody has a place too, and who comes for it needs none",
     "join:A take send leave:A waiting=0 join:B B=waits done store B=collapsed:1"},
    {"those handed on have their room",
     "join:A take send purge join:B done store A=miss:1 B=waits"},
};

/* The same, and an old answer may be given. */
static const struct flight_case full_error_cases[] = {
    {"an old answer takes no place",
     "put:20 join:A join:B join:C looks=1 C=waits look C=on-error:9 noroom=1 waiting=2 queries=0"},
    {"there is none", "join:A join:B join:C look C=503 failed=0 noroom=1 noslot=0 waiting=2"},
};

static void test_miss(void **state)
{
    (void)state;
    run_all(miss_cases, COUNT_OF(miss_cases), 0, "");
}

static void test_lease(void **state)
{
    (void)state;
    run_all(lease_cases, COUNT_OF(lease_cases), 0, "");
}

static void test_away(void **state)
{
    (void)state;
    run_all(away_cases, COUNT_OF(away_cases), 0, "");
}

static void test_slots(void **state)
{
    (void)state;
    run_all(slot_cases, COUNT_OF(slot_cases), 0, "");
}

static void test_unable(void **state)
{
    (void)state;
    run_all(unable_cases, COUNT_OF(unable_cases), 0, "");
}

static void test_store(void **state)
{
    (void)state;
    run_all(store_cases, COUNT_OF(store_cases), 0, "");
}

static void test_failure(void **state)
{
    (void)state;
    run_all(failure_cases, COUNT_OF(failure_cases), 0, "");
}

static void test_runs_on(void **state)
{
    (void)state;
    run_all(runs_on_cases, COUNT_OF(runs_on_cases), 0, "");
}

static void test_gone(void **state)
{
    (void)state;
    run_all(gone_cases, COUNT_OF(gone_cases), 0, "");
}

static void test_deadline(void **state)
{
    (void)state;
    run_all(deadline_cases, COUNT_OF(deadline_cases), 0, "");
}

static void test_stop(void **state)
{
    (void)state;
    run_all(stop_cases, COUNT_OF(stop_cases), 0, "");
}

static void test_error(void **state)
{
    (void)state;
    run_all(error_cases, COUNT_OF(error_cases), 1, "");
}

static void test_alone(void **state)
{
    (void)state;
    run_all(alone_cases, COUNT_OF(alone_cases), 2, "");
}

static void test_clock(void **state)
{
    (void)state;
    run_all(clock_cases, COUNT_OF(clock_cases), 0, "");
}

static void test_large(void **state)
{
    (void)state;
    run_all(large_cases, COUNT_OF(large_cases), 0, "max_object = 1kb\n");
}

static void test_full(void **state)
{
    (void)state;
    run_all(full_cases, COUNT_OF(full_cases), 0, "max_waiting = 2\n");
    run_all(full_error_cases, COUNT_OF(full_error_cases), 1, "max_waiting = 2\n");
}

/* ---- All of it at random, from seeds that are always the same */

enum { WALKS = 400, STEPS = 70, ROUNDS = 200 };

struct walk {
    struct scene *scene;
    uint32_t seed, random;
    int64_t arrived[READERS]; /* what was to be read when each came */
    int64_t others_row;       /* what another process has read under its lease */
    int64_t others_us;
};

static unsigned dice(struct walk *walk, unsigned sides)
{
    walk->random = walk->random * 1664525 + 1013904223;
    return (walk->random >> 10) % sides;
}

/* An answer of before a purge that was over when its reader came would be wrong. */
static void judge_answers(struct walk *walk)
{
    for (size_t i = 0; i < READERS; i++) {
        struct reader *reader = walk->scene->readers[i];
        if (reader == NULL || reader->request != NULL)
            continue;
        const char *row = strchr(reader->answer, ':');
        check(reader->answers <= 1, "seed %u: reader %zu: answered twice", walk->seed, i);
        check(row == NULL || atol(row + 1) >= walk->arrived[i],
              "seed %u: reader %zu: %s from before", walk->seed, i, reader->answer);
        talloc_free(reader);
        walk->scene->readers[i] = NULL;
    }
}

static void another_takes_or_stores(struct walk *walk)
{
    struct scene *scene = walk->scene;
    const char *held = fake_cache_lease(scene->cache, BASE);
    char body[24];

    if (held == NULL) {
        change_world(scene, "hold");
        walk->others_row = scene->worker->row;
        walk->others_us = fake_cache_now_us(scene->cache);
        return;
    }
    if (held[0] != 'f')
        return;
    snprintf(body, sizeof body, "%lld", (long long)walk->others_row);
    if (dice(walk, 3) > 0)
        fake_cache_put(scene->cache, BASE, walk->others_us, 200, body);
    change_world(scene, dice(walk, 4) > 0 ? "free" : "mark:503");
}

static void answer_something(struct walk *walk, bool well)
{
    static const enum fake_way ways[] = {FAKE_DONE, FAKE_DONE, FAKE_DONE,    FAKE_DONE,
                                         FAKE_DONE, FAKE_AWAY, FAKE_REFUSED, FAKE_UNCERTAIN};
    struct fake_cache *cache = walk->scene->cache;

    if (fake_cache_next(cache) == FAKE_NOTHING)
        return;
    if (!well && dice(walk, 4) == 0)
        fake_cache_do(cache, fake_cache_next(cache));
    else
        fake_cache_answer_next(cache, well ? FAKE_DONE : ways[dice(walk, COUNT_OF(ways))]);
}

static void end_some_query(struct walk *walk, bool well)
{
    static const enum query_outcome outcomes[] = {QUERY_DONE,    QUERY_DONE, QUERY_DONE,
                                                  QUERY_NO_SLOT, QUERY_AWAY, QUERY_TIMED_OUT};
    struct fake_query *query = fake_worker_query(walk->scene->worker);

    if (query == NULL)
        return;
    query->waits = false;
    if (!well && dice(walk, 8) == 0)
        give_up_query(walk->scene, query);
    else if (!well && dice(walk, 2) == 0)
        fake_worker_send(walk->scene->worker, query);
    else
        fake_worker_end(walk->scene->worker, query,
                        well ? QUERY_DONE : outcomes[dice(walk, COUNT_OF(outcomes))]);
}

static void come_or_go(struct walk *walk, unsigned i)
{
    struct scene *scene = walk->scene;

    if (scene->readers[i] == NULL) {
        walk->arrived[i] = scene->worker->row;
        join(scene, (char)('A' + i));
    } else if (dice(walk, 4) == 0) {
        leave(scene, (char)('A' + i));
    }
}

static void step_at_random(struct walk *walk)
{
    struct scene *scene = walk->scene;

    switch (dice(walk, 16)) {
    case 0:
        change_world(scene, "purge");
        break;
    case 1:
    case 2:
        another_takes_or_stores(walk);
        break;
    case 3:
        fake_cache_tell(scene->cache, BASE, dice(walk, 4) > 0 ? CACHE_LOOK_NOW : CACHE_NOT_TOLD);
        break;
    case 4:
        fake_time_pass(dice(walk, 8) == 0 ? 4000000 : 1000 * dice(walk, 700));
        break;
    case 5:
        scene->worker->verified = dice(walk, 4) > 0;
        scene->worker->away = dice(walk, 4) == 0;
        scene->worker->no_slots = dice(walk, 4) == 0;
        break;
    case 6:
    case 7:
        end_some_query(walk, false);
        break;
    case 8:
        fake_worker_settle(scene->worker);
        break;
    case 9:
    case 10:
    case 11:
        come_or_go(walk, dice(walk, READERS));
        break;
    default:
        fake_time_pass(100);
        answer_something(walk, false);
    }
    fake_time_run(scene->worker->loop);
    judge_answers(walk);
}

/* Whatever has been, everybody is answered in the end, and nothing is left. */
static void come_to_an_end(struct walk *walk)
{
    struct scene *scene = walk->scene;

    scene->worker->verified = true;
    scene->worker->away = scene->worker->no_slots = false;
    for (int i = 0; i < ROUNDS; i++) {
        answer_something(walk, true);
        end_some_query(walk, true);
        fake_worker_settle(scene->worker);
        fake_time_pass(100000);
        fake_time_run(scene->worker->loop);
        judge_answers(walk);
    }
    const char *held = fake_cache_lease(scene->cache, BASE);
    check(flights_waiting(scene->flights) == 0, "seed %u: somebody waits", walk->seed);
    check(talloc_total_blocks(scene->flights) == 1, "seed %u: a flight is left", walk->seed);
    check(fake_cache_under_way(scene->cache) == 0, "seed %u: something is asked", walk->seed);
    check(fake_cache_watches(scene->cache, BASE) == 0, "seed %u: a watch is left", walk->seed);
    check(held == NULL || held[0] == '!', "seed %u: %s is held", walk->seed, held);
}

static void test_at_random(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= WALKS; seed++) {
        struct walk walk = {.scene = scene_new("at random", seed % 2, ""),
                            .seed = seed,
                            .random = seed * 2654435761U};
        for (int i = 0; i < STEPS; i++)
            step_at_random(&walk);
        come_to_an_end(&walk);
        talloc_free(walk.scene->worker);
    }
}

/* ---- Crowds */

enum { CROWD = 100, ANSWERS_A_TURN = 32 };

struct crowd {
    struct scene *scene;
    struct reader *readers[CROWD];
};

static void gather(struct crowd *crowd, struct scene *scene)
{
    *crowd = (struct crowd){.scene = scene};
    for (size_t i = 0; i < CROWD; i++) {
        fake_time_pass(10);
        crowd->readers[i] = fake_worker_visit(scene->worker, scene, scene->route, BASE);
        fake_time_pass(10);
        flights_join(scene->flights, crowd->readers[i]->request->owner, true);
    }
}

/* How many have been answered; all of them alike. */
static size_t count_answers(const struct crowd *crowd, const char *first, const char *others)
{
    size_t count = 0;

    for (size_t i = 0; i < CROWD; i++) {
        const struct reader *reader = crowd->readers[i];
        if (reader->answers == 0)
            continue;
        count++;
        assert_string_equal(reader->answer, i == 0 ? first : others);
    }
    return count;
}

static void answer_next(struct scene *scene, enum fake_asked asked)
{
    assert_true(fake_cache_answer(scene->cache, asked, FAKE_DONE));
}

static void turn(const struct scene *scene)
{
    ev_run(scene->worker->loop, EVRUN_NOWAIT);
}

/* Of a crowd some are answered in a turn, and others are served between. Who leaves meanwhile is
   not answered, and who comes is for the next flight. */
static void test_a_crowd_is_answered_in_parts(void **state)
{
    struct scene *scene = scene_new("crowd", 0, "");
    struct crowd crowd;
    size_t count = ANSWERS_A_TURN;

    (void)state;
    gather(&crowd, scene);
    answer_next(scene, FAKE_TAKE);
    fake_worker_send(scene->worker, fake_worker_query(scene->worker));
    fake_worker_end(scene->worker, fake_worker_query(scene->worker), QUERY_DONE);
    answer_next(scene, FAKE_STORE);
    assert_int_equal(count_answers(&crowd, "miss*:1", "collapsed:1"), ANSWERS_A_TURN);
    flights_leave(crowd.readers[CROWD - 1]->request->owner);
    TALLOC_FREE(crowd.readers[CROWD - 1]->request);
    join(scene, 'A');
    while (count < CROWD - 1) {
        size_t before = count;
        turn(scene);
        count = count_answers(&crowd, "miss*:1", "collapsed:1");
        check(count > before && count - before <= ANSWERS_A_TURN, "%zu after %zu", count, before);
    }
    turn(scene);
    assert_int_equal(count_answers(&crowd, "miss*:1", "collapsed:1"), CROWD - 1);
    assert_int_equal(flights_waiting(scene->flights), 1);
    answer_next(scene, FAKE_TAKE);
    assert_int_equal(scene->readers[0]->answers, 1);
    talloc_free(scene->worker);
}

static void test_a_crowd_fails_in_parts(void **state)
{
    struct scene *scene = scene_new("failing crowd", 0, "");
    struct crowd crowd;

    (void)state;
    gather(&crowd, scene);
    answer_next(scene, FAKE_TAKE);
    fake_worker_end(scene->worker, fake_worker_query(scene->worker), QUERY_BROKEN);
    for (size_t count = ANSWERS_A_TURN; count < CROWD; count += ANSWERS_A_TURN) {
        assert_int_equal(count_answers(&crowd, "500", "500~"), count);
        turn(scene);
    }
    assert_int_equal(count_answers(&crowd, "500", "500~"), CROWD);
    assert_int_equal(flights_waiting(scene->flights), 0);
    talloc_free(scene->worker);
}

/* The old entry is looked up once more for each part. */
static void test_a_crowd_gets_an_old_answer_in_parts(void **state)
{
    struct scene *scene = scene_new("crowd on error", 1, "");
    struct crowd crowd;

    (void)state;
    put_entry(scene, "20");
    gather(&crowd, scene);
    answer_next(scene, FAKE_TAKE);
    fake_worker_end(scene->worker, fake_worker_query(scene->worker), QUERY_FULL);
    for (size_t count = 0; count < CROWD; count += ANSWERS_A_TURN) {
        assert_int_equal(count_answers(&crowd, "on-error:9", "on-error:9"), count);
        answer_next(scene, FAKE_LOOK_UP);
    }
    assert_int_equal(count_answers(&crowd, "on-error:9", "on-error:9"), CROWD);
    assert_int_equal(flights_waiting(scene->flights), 0);
    talloc_free(scene->worker);
}

/* It may be gone meanwhile. */
static void test_a_crowd_gets_an_old_answer_in_part(void **state)
{
    struct scene *scene = scene_new("half a crowd on error", 1, "");
    struct crowd crowd;
    size_t failed = 0;

    (void)state;
    put_entry(scene, "20");
    gather(&crowd, scene);
    answer_next(scene, FAKE_TAKE);
    fake_worker_end(scene->worker, fake_worker_query(scene->worker), QUERY_FULL);
    answer_next(scene, FAKE_LOOK_UP);
    fake_cache_purge(scene->cache, BASE);
    answer_next(scene, FAKE_LOOK_UP);
    while (flights_waiting(scene->flights) > 0)
        turn(scene);
    for (size_t i = 0; i < CROWD; i++)
        failed += strcmp(crowd.readers[i]->answer, "503~") == 0;
    assert_int_equal(failed, CROWD - ANSWERS_A_TURN);
    talloc_free(scene->worker);
}

/* Those who are left when the worker stops are told so. */
static void test_a_crowd_that_is_abandoned(void **state)
{
    struct scene *scene = scene_new("abandoned crowd", 0, "");
    struct crowd crowd;
    size_t answered = 0;

    (void)state;
    gather(&crowd, scene);
    answer_next(scene, FAKE_TAKE);
    fake_worker_end(scene->worker, fake_worker_query(scene->worker), QUERY_DONE);
    answer_next(scene, FAKE_STORE);
    flights_abandon(scene->flights);
    for (size_t i = 0; i < CROWD; i++)
        answered += crowd.readers[i]->answers;
    assert_int_equal(answered, CROWD);
    turn(scene);
    talloc_free(scene->worker);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_miss),
        cmocka_unit_test(test_lease),
        cmocka_unit_test(test_away),
        cmocka_unit_test(test_unable),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_runs_on),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_at_random),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_a_crowd_is_answered_in_parts),
        cmocka_unit_test(test_a_crowd_fails_in_parts),
        cmocka_unit_test(test_a_crowd_gets_an_old_answer_in_parts),
        cmocka_unit_test(test_a_crowd_gets_an_old_answer_in_part),
        cmocka_unit_test(test_a_crowd_that_is_abandoned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
