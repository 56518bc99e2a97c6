/* SPDX-License-Identifier: BSD-2-Clause */
/* What is called inside a script is checked as if the user had called it, and for EVAL itself Redis
   wants all access to each of its keys. Commands are in the order in which a response and its
   refresh need them. */
#include "config.h"

#include "cache/rights.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "cache/keys.h"

#define DAEMONS (RIGHTS_WORKER | RIGHTS_REFRESHER)
#define SCRIPT  "EVAL return(0) "

static const struct right rights[] = {
    /* every connection */
    {RIGHTS_ALL, "SELECT $database", true, "to use the configured database", RIGHTS_DIRECTLY},
    {RIGHTS_ALL, "TIME", true, "to know how old responses are", RIGHTS_BY_SCRIPT},
    {DAEMONS, "PING", false,
     "to see whether a connection on which nothing is said still leads there", RIGHTS_BY_SCRIPT},
    {RIGHTS_ALL, "INFO server", false,
     "to tell a server that has been replaced from one that is back, and what it is",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_ALL, "GETRANGE %R~clock 0 0", false,
     "to hear that Redis's clock was set back: entries from before would look younger",
     RIGHTS_BY_SCRIPT},
    {DAEMONS, SCRIPT "1 %RW~clock", false, "to tell others that Redis's clock was set back",
     RIGHTS_DIRECTLY},
    {DAEMONS, "SET %W~clock 1", false, "to tell others that Redis's clock was set back",
     RIGHTS_BY_SCRIPT},
    {DAEMONS, "DEL %W~clock", false, "to tell others that Redis's clock was put right",
     RIGHTS_BY_SCRIPT},

    /* which database */
    {RIGHTS_ALL, "HMGET %R~note system", true, "to verify the database", RIGHTS_BY_SCRIPT},
    {RIGHTS_WORKER, SCRIPT "1 %RW~note", true, "to note which database it is", RIGHTS_DIRECTLY},
    {RIGHTS_WORKER, "HSET %W~note system 1", true, "to note which database it is",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER | RIGHTS_OPERATOR, SCRIPT "1 %RW~note", false,
     "to note which database it is if no worker has", RIGHTS_DIRECTLY},
    {RIGHTS_REFRESHER | RIGHTS_OPERATOR, "HSET %W~note system 1", false,
     "to note which database it is if no worker has", RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, "HINCRBY %RW~note accepts 1", false, "for leewayctl identity --accept",
     RIGHTS_BY_SCRIPT},

    /* what operators have switched off */
    {RIGHTS_ALL, "HGETALL %R~switches", false, "to hear what leewayctl disable has switched off",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, SCRIPT "1 %RW~switches", false, "for leewayctl disable --fleet",
     RIGHTS_DIRECTLY},
    {RIGHTS_OPERATOR, "HSET %W~switches 1 1", false, "for leewayctl disable --fleet",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, "HDEL %W~switches 1", false, "for leewayctl enable --fleet",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, "PEXPIREAT %W~switches 1", false, "for leewayctl disable --fleet",
     RIGHTS_BY_SCRIPT},

    /* responses */
    {RIGHTS_ALL, "GET %R~entry", true, "to look up responses", RIGHTS_BY_SCRIPT},
    {RIGHTS_ALL, "GET %R~lease", true, "to see who runs a query", RIGHTS_BY_SCRIPT},
    {RIGHTS_WORKER, "PTTL %R~lease", true, "to wait for another's query", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER | RIGHTS_OPERATOR, "PTTL %R~lease", false,
     "to see how long another's query may last", RIGHTS_BY_SCRIPT},
    {DAEMONS, "SET %RW~lease 1 NX GET PX 1", true, "to take the lease of a response",
     RIGHTS_BY_SCRIPT},
    {DAEMONS, SCRIPT "2 %RW~lease %RW~entry", true, "to renew and end leases, and store responses",
     RIGHTS_DIRECTLY},
    {DAEMONS, "PEXPIRE %W~lease 1", true, "to keep the lease during a query", RIGHTS_BY_SCRIPT},
    {DAEMONS, "GETRANGE %R~entry 0 0", true, "to store responses, unless a newer one is there",
     RIGHTS_BY_SCRIPT},
    {DAEMONS, "SET %W~entry 1 PXAT 1", true, "to store responses", RIGHTS_BY_SCRIPT},
    {DAEMONS, "DEL %W~lease", true, "to end leases", RIGHTS_BY_SCRIPT},
    {DAEMONS, "PUBLISH &done ended", false, "to wake who waits for a query; else they look again",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_WORKER, "SUBSCRIBE &done", false,
     "to be woken when another's query has ended; else requests look again", RIGHTS_BY_SUBSCRIBING},
    {RIGHTS_WORKER, "UNSUBSCRIBE &done", false, "to be told no longer than necessary",
     RIGHTS_DIRECTLY},
    {RIGHTS_OPERATOR, "DEL %W~entry %W~lease", false, "for leewayctl purge", RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, "DBSIZE", false, "for leewayctl purge to say how far it is",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, "SCAN 0", false, "for leewayctl purge, to find all generations of a response",
     RIGHTS_BY_SCRIPT},

    /* refresh jobs, as workers see them */
    {RIGHTS_WORKER, SCRIPT "3 %RW~jobs %RW~mark %RW~lists", true, "to ask for a refresh",
     RIGHTS_DIRECTLY},
    {RIGHTS_WORKER | RIGHTS_OPERATOR, "LLEN %R~jobs", true, "to see how many refreshes wait",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_WORKER, "LPUSH %W~jobs 1", true, "to ask for a refresh", RIGHTS_BY_SCRIPT},
    {RIGHTS_WORKER, "SET %W~mark 1 NX PX 1", true, "to ask for a refresh only once",
     RIGHTS_BY_SCRIPT},
    {DAEMONS, "ZADD %W~lists 1 1", false, "to know of each list when it ends", RIGHTS_BY_SCRIPT},
    {DAEMONS, "PEXPIREAT %W~jobs 1", false, "to let a list end that nobody takes from",
     RIGHTS_BY_SCRIPT},
    {DAEMONS, "PEXPIREAT %W~lists 1", false, "to let a list end that nobody takes from",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_WORKER | RIGHTS_OPERATOR, "LINDEX %R~jobs -1", false,
     "to see how long the oldest refresh waits", RIGHTS_BY_SCRIPT},
    {RIGHTS_WORKER | RIGHTS_OPERATOR, "GET %R~abandoned", false,
     "to see how many refreshes nobody took", RIGHTS_BY_SCRIPT},

    /* lists that nobody takes from */
    {DAEMONS, SCRIPT "1 %RW~lists", false, "to find lists that nobody takes from", RIGHTS_DIRECTLY},
    {DAEMONS, "ZRANGEBYSCORE %R~lists 0 1", false, "to find lists that nobody takes from",
     RIGHTS_BY_SCRIPT},
    {DAEMONS, SCRIPT "3 %RW~jobs %RW~lists %RW~abandoned", false,
     "to count refreshes that nobody took", RIGHTS_DIRECTLY},
    {DAEMONS, "ZSCORE %R~lists 1", false, "to count refreshes that nobody took", RIGHTS_BY_SCRIPT},
    {DAEMONS, "ZREM %W~lists 1", false, "to count refreshes that nobody took", RIGHTS_BY_SCRIPT},
    {DAEMONS, "DEL %W~jobs", false, "to count refreshes that nobody took", RIGHTS_BY_SCRIPT},
    {DAEMONS, "INCRBY %RW~abandoned 1", false, "to count refreshes that nobody took",
     RIGHTS_BY_SCRIPT},

    /* as refreshers do */
    /* a negative timeout is refused after the rights were looked at, and before anything is moved
     */
    {RIGHTS_REFRESHER, "BLMOVE %RW~jobs %W~processing RIGHT LEFT -1", true, "to take a refresh",
     RIGHTS_DIRECTLY},
    {RIGHTS_REFRESHER, "PEXPIRE %W~processing 1", true, "to let what it has in hand end with it",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, SCRIPT "4 %RW~processing %RW~mark %RW~failures %RW~deaths", true,
     "to finish a refresh", RIGHTS_DIRECTLY},
    {RIGHTS_REFRESHER, "LREM %W~processing 1 1", true, "to finish a refresh", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "DEL %W~mark %W~failures", true, "to finish a refresh", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "HDEL %W~deaths 1", true, "to finish a refresh", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, SCRIPT "3 %RW~processing %RW~failures %RW~deaths", true,
     "to back off from what fails", RIGHTS_DIRECTLY},
    {RIGHTS_REFRESHER, "INCR %RW~failures", true, "to back off from what fails", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "PEXPIRE %W~failures 1", true, "to back off from what fails",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "SET %W~mark 1 PX 1", true, "to back off from what fails", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, SCRIPT "3 %RW~alive %RW~refreshers %RW~processing", true,
     "to show that it lives", RIGHTS_DIRECTLY},
    {RIGHTS_REFRESHER, "SET %W~alive 1 PX 1", true, "to show that it lives", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "SADD %W~refreshers 1", true, "to show that it lives", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "PEXPIRE %W~refreshers 1", true, "to let its name end with it",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "LLEN %R~processing", true, "to know of all that it has in hand",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "DEL %W~alive", true, "to leave", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "SET %W~reaper 1 NX PX 1", true, "to put back what dead refreshers had",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER | RIGHTS_OPERATOR, "SMEMBERS %R~refreshers", true, "to know all refreshers",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, SCRIPT "3 %RW~alive %RW~processing %RW~refreshers", true,
     "to put back what dead refreshers had", RIGHTS_DIRECTLY},
    {RIGHTS_REFRESHER,
     SCRIPT "7 %RW~alive %RW~processing %RW~jobs %RW~lists %RW~deaths %RW~aside %RW~mark", true,
     "to put back what dead refreshers had", RIGHTS_DIRECTLY},
    {RIGHTS_REFRESHER | RIGHTS_OPERATOR, "EXISTS %R~alive", true, "to tell who is dead",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "LINDEX %R~processing -1", true, "to put back what dead refreshers had",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "LLEN %R~jobs", true, "to put back what dead refreshers had",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "LMOVE %RW~processing %W~jobs RIGHT RIGHT", true,
     "to put back what dead refreshers had", RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "SREM %W~refreshers 1", true, "to put back what dead refreshers had",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "HINCRBY %RW~deaths 1 1", true, "to set aside what they died of",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "PEXPIRE %W~deaths 1", true, "to set aside what they died of",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "ZADD %W~aside 1 1", false, "to set aside what they died of",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "ZREMRANGEBYSCORE %W~aside 0 1", false, "to set aside what they died of",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "ZREMRANGEBYRANK %W~aside 0 1", false, "to set aside what they died of",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "PEXPIRE %W~aside 1", false, "to set aside what they died of",
     RIGHTS_BY_SCRIPT},
    {RIGHTS_REFRESHER, "SCAN 0", false,
     "to find what dead refreshers had although their names were lost", RIGHTS_BY_SCRIPT},

    /* how others are */
    {DAEMONS, "SET %W~peer 1 PX 1", false, "to tell other hosts how it is", RIGHTS_BY_SCRIPT},
    {DAEMONS, "SADD %W~peers 1", false, "to tell other hosts how it is", RIGHTS_BY_SCRIPT},
    {DAEMONS, "SRANDMEMBER %R~peers 1", false, "to know how other hosts are", RIGHTS_BY_SCRIPT},
    {DAEMONS, "MGET %R~peer", false, "to know how other hosts are", RIGHTS_BY_SCRIPT},
    {DAEMONS, "PTTL %R~peer", false, "to know how other hosts are", RIGHTS_BY_SCRIPT},
    {DAEMONS, "SREM %W~peers 1", false, "to forget processes that have ended", RIGHTS_BY_SCRIPT},
    {DAEMONS, "PEXPIRE %W~peers 1", false, "to leave nothing behind", RIGHTS_BY_SCRIPT},

    /* as operators look at them */
    {RIGHTS_OPERATOR, "LINDEX %R~processing -1", false, "for leewayctl queue", RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, "ZRANGE %R~aside 0 -1", false, "for leewayctl queue", RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, "ZRANGE %R~lists 0 -1", false, "for leewayctl queue", RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, "PTTL %R~mark", false, "for leewayctl explain", RIGHTS_BY_SCRIPT},
    {RIGHTS_OPERATOR, "ACL DRYRUN default TIME", false,
     "for leewayctl check to ask for rights instead of trying each", RIGHTS_DIRECTLY},
};

static const char *const role_names[] = {"worker", "refresher", "operator"};

const char *rights_role_name(unsigned role)
{
    size_t i = 0;

    while (role >> (i + 1) != 0)
        i++;
    return role_names[i];
}

unsigned rights_role_named(const char *name)
{
    for (unsigned i = 0; i < sizeof role_names / sizeof role_names[0]; i++)
        if (strcmp(name, role_names[i]) == 0)
            return 1U << i;
    return 0;
}

const struct right *rights_get(size_t number)
{
    return number < sizeof rights / sizeof rights[0] ? &rights[number] : NULL;
}

bool rights_matters(const struct right *right, const struct redis_settings *settings)
{
    return strncmp(right->form, "SELECT", 6) != 0 || settings->database != 0;
}

/* Not of something else in it. */
static bool is_of_list(const char *place)
{
    static const char *const places[] = {"refreshers", "reaper", "deaths", "aside"};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (strcmp(place, places[i]) == 0)
            return true;
    return false;
}

static char *name_place(TALLOC_CTX *ctx, const char *place, const char *prefix, const char *of)
{
    char *base = mem_check(talloc_asprintf(ctx, "%s:{%s}", prefix, of));

    if (strcmp(place, "entry") == 0)
        return key_entry(ctx, base);
    if (strcmp(place, "lease") == 0)
        return key_lease(ctx, base);
    if (strcmp(place, "done") == 0)
        return key_channel(ctx, base);
    if (strcmp(place, "note") == 0)
        return key_note(ctx, prefix, of);
    if (strcmp(place, "peers") == 0)
        return key_peers(ctx, prefix, of);
    if (strcmp(place, "peer") == 0)
        return key_peer(ctx, prefix, of, of);
    if (strcmp(place, "switches") == 0)
        return key_switches(ctx, prefix, of);
    if (strcmp(place, "clock") == 0)
        return key_clock(ctx, prefix);
    if (strcmp(place, "jobs") == 0)
        return key_jobs(ctx, prefix, of);
    if (strcmp(place, "lists") == 0 || strcmp(place, "abandoned") == 0)
        return key_of_lists(ctx, prefix, place);
    return key_of_queue(ctx, prefix, of, place, is_of_list(place) ? "" : of);
}

/* What is behind the sign of a key or channel; NULL: it is neither. */
static const char *place_of(const char *word)
{
    if (word[0] == '&')
        return word + 1;
    return word[0] == '%' ? strchr(word, '~') + 1 : NULL;
}

static const char *make_part(TALLOC_CTX *ctx, const char *word,
                             const struct redis_settings *settings, const char *of)
{
    const char *place = place_of(word);

    if (place != NULL)
        return name_place(ctx, place, settings->prefix, of);
    if (word[0] == '$')
        return mem_check(talloc_asprintf(ctx, "%d", (int)settings->database));
    return word;
}

/* All that comes of them may be their children. */
static const char **split(TALLOC_CTX *ctx, const char *form, size_t *count)
{
    const char **words = mem_check(talloc_array(ctx, const char *, (unsigned)strlen(form) / 2 + 2));
    char *rest = mem_check(talloc_strdup(words, form));

    *count = 0;
    for (char *word = strtok_r(rest, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        words[(*count)++] = word;
    return words;
}

const char **rights_parts(TALLOC_CTX *ctx, const struct right *right,
                          const struct redis_settings *settings, const char *of, size_t *count)
{
    const char **words = split(ctx, right->form, count);

    for (size_t i = 0; i < *count; i++)
        words[i] = make_part(words, words[i], settings, of);
    return words;
}

/* How many of the words are its name. */
static size_t name_words(const char *const *words)
{
    return strcmp(words[0], "ACL") == 0 ? 2 : 1;
}

char *rights_describe(TALLOC_CTX *ctx, const struct right *right,
                      const struct redis_settings *settings)
{
    size_t count;
    const char **words = split(ctx, right->form, &count);
    char *text = mem_check(talloc_strdup(ctx, words[0]));
    const char *joint = NULL;

    if (name_words(words) == 2)
        text = mem_check(talloc_asprintf_append(text, " %s", words[1]));
    for (size_t i = 1; i < count; i++) {
        if (place_of(words[i]) == NULL)
            continue;
        joint = joint != NULL ? " and" : words[i][0] == '&' ? " on" : " of";
        text = mem_check(talloc_asprintf_append(text, "%s %s", joint,
                                                make_part(words, words[i], settings, "*")));
    }
    talloc_free(words);
    return text;
}

char *rights_rules(TALLOC_CTX *ctx, const struct right *right,
                   const struct redis_settings *settings)
{
    size_t count;
    const char **words = split(ctx, right->form, &count);
    char *rules =
        mem_check(talloc_asprintf(ctx, "+%s%s%s", words[0], name_words(words) == 2 ? "|" : "",
                                  name_words(words) == 2 ? words[1] : ""));

    for (char *at = rules; *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    for (size_t i = 1; i < count; i++) {
        const char *place = place_of(words[i]);
        if (place != NULL)
            rules = mem_check(talloc_asprintf_append(rules, " %.*s%s", (int)(place - words[i]),
                                                     words[i],
                                                     make_part(words, words[i], settings, "*")));
    }
    talloc_free(words);
    return rules;
}
