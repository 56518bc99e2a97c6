/* SPDX-License-Identifier: BSD-2-Clause */
/* leewayctl identity: which database keys mean, what is noted of it, and what the server says; and
   accepting the server as it is now. */
#include "config.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/await.h"
#include "ctl/json.h"
#include "ctl/keys.h"

struct findings {
    const struct ctl_keys *keys;
    const struct destination *destination;
    const char *identity;
    int noted; /* 1: `note` is set, 0: nothing is noted, -1: Redis cannot say */
    struct identity_note note;
    bool reached;
    struct ctl_place place;
};

static bool is_right(const struct findings *found)
{
    return found->noted == 1 && found->reached &&
           identity_note_agrees(&found->note, &found->place.seen);
}

static const char *verdict(const struct findings *found)
{
    if (found->noted == -1)
        return "unknown: Redis cannot be asked";
    if (!found->reached)
        return "unknown: the server cannot be asked";
    if (found->noted == 0)
        return "not noted yet: the first daemon to start notes it";
    return is_right(found) ? "the server is what is noted"
                           : "another database: nothing is served; see --accept";
}

static void print_note(const char *what, const struct identity_note *note)
{
    printf("%-12scluster %s, database OID %s", what,
           note->system[0] != '\0' ? note->system : "(not to be read)", note->database);
}

static void print_text(const struct findings *found)
{
    const struct destination *destination = found->destination;
    const struct ctl_keys *keys = found->keys;

    printf("identity    %s%s\n", found->identity,
           keys->kept ? "" : " (no daemon of this host has verified it)");
    printf("hosts       ");
    ctl_print(destination->hosts);
    printf("\ndatabase    ");
    ctl_print(destination->database);
    printf("\nuser        ");
    ctl_print(destination->user);
    printf("\noptions     ");
    ctl_print(destination->options);
    printf("\n");
    if (found->noted == 1) {
        print_note("noted", &found->note);
        printf(", accepted %" PRId64 " times\n", found->note.accepts);
    }
    if (found->reached) {
        print_note("server", &found->place.seen);
        printf(", user %s, search_path ", found->place.user);
        ctl_print(found->place.search_path);
        printf("\n");
    }
    if (ctl_keys_known(keys))
        printf("generation  %016" PRIx64 "\n", keys->generation);
    printf("verdict     %s\n", verdict(found));
}

static void write_note(struct json_out *json, const char *name, const struct identity_note *note)
{
    json_open_object(json, name);
    json_text(json, "system_identifier", note->system[0] != '\0' ? note->system : NULL);
    json_text(json, "database_oid", note->database);
}

static void write_json(const struct findings *found)
{
    struct json_out *json = json_begin();
    char generation[24];

    json_open_object(json, NULL);
    json_text(json, "identity", found->identity);
    json_text(json, "hosts", found->destination->hosts);
    json_text(json, "database", found->destination->database);
    json_text(json, "user", found->destination->user);
    json_text(json, "options", found->destination->options);
    json_bool(json, "kept", found->keys->kept);
    if (found->noted == 1) {
        write_note(json, "noted", &found->note);
        json_number(json, "accepts", found->note.accepts);
        json_close_object(json);
    } else {
        json_null(json, "noted");
    }
    if (found->reached) {
        write_note(json, "server", &found->place.seen);
        json_text(json, "user", found->place.user);
        json_text(json, "search_path", found->place.search_path);
        json_close_object(json);
    } else {
        json_null(json, "server");
    }
    snprintf(generation, sizeof generation, "%016" PRIx64, found->keys->generation);
    json_text(json, "generation", ctl_keys_known(found->keys) ? generation : NULL);
    json_bool(json, "agrees", is_right(found));
    json_text(json, "verdict", verdict(found));
    json_close_object(json);
    json_end(json);
}

/* false: less would be noted than is, and another cluster could take the place of the noted one. */
static bool may_be_noted(const struct findings *found)
{
    if (found->noted != 1 || found->note.system[0] == '\0' || found->place.seen.system[0] != '\0')
        return true;
    fprintf(stderr,
            "leewayctl: nothing is accepted: user '%s' may not execute "
            "pg_control_system(), and the cluster is noted; run as a user that may\n",
            found->place.user);
    return false;
}

struct accept_answer {
    bool came;
    struct findings *findings;
};

static void on_accepted(void *data, int found, const struct identity_note *noted)
{
    struct accept_answer *answer = data;

    answer->came = true;
    answer->findings->noted = found;
    if (found == 1)
        answer->findings->note = *noted;
}

/* false: refused. */
static bool accept_server(struct ctl *ctl, struct findings *found)
{
    struct accept_answer answer = {.findings = found};
    struct cache *cache = ctl_cache(ctl);

    if (found->noted == -1 || !found->reached)
        return true;
    if (!may_be_noted(found))
        return false;
    found->noted = -1;
    if (cache == NULL)
        return true;
    cache_accept_note(cache, found->identity, &found->place.seen, on_accepted, &answer);
    ctl_await(ctl, &answer.came);
    return true;
}

static enum ctl_exit look(struct ctl *ctl, TALLOC_CTX *ctx, bool accept)
{
    struct findings found = {.keys = ctl_keys(ctl)};

    if (found.keys->status == CTL_BAD && !ctl_keys_known(found.keys))
        return CTL_BAD;
    bool known = ctl_keys_known(found.keys);
    found.destination = known ? &found.keys->record.destination : &ctl->app->destination;
    found.identity = known ? found.keys->record.identity : ctl->app->identity;
    found.noted = ctl_read_note(ctl, found.identity, &found.note);
    /* another server's word, in another environment, says nothing about the daemons' */
    if (ctl_goes_where(ctl, found.destination))
        found.reached = ctl_place(ctl, ctx, &found.place) == 0;
    else
        fprintf(stderr, "leewayctl: the daemons connect elsewhere: their server is not asked\n");
    bool refused = accept && !accept_server(ctl, &found);
    if (ctl->json)
        write_json(&found);
    else
        print_text(&found);
    if (found.noted == -1 || !found.reached)
        return CTL_UNREACHABLE;
    return is_right(&found) && !refused ? found.keys->status : CTL_BAD;
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"accept", no_argument, NULL, 'a'}, {NULL, 0, NULL, 0}};
    bool accept = false;
    int option;

    optind = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'j')
            ctl->json = true;
        else if (option == 'a')
            accept = true;
        else
            return ctl_misused(&ctl_identity);
    }
    if (optind != argc)
        return ctl_misused(&ctl_identity);
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    enum ctl_exit status = look(ctl, ctx, accept);
    talloc_free(ctx);
    return status;
}

const struct ctl_command ctl_identity = {
    .name = "identity",
    .arguments = "[--json] [--accept]",
    .help = "which database keys mean, and whether the server is that; accepts it as it is now",
    .run = run,
};
