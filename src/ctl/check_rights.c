/* SPDX-License-Identifier: BSD-2-Clause */
/* Each right is tried once, whatever the number of roles that need it. */
#include "config.h"

#include "ctl/check_rights.h"

#include "base/mem.h"
#include "cache/redis_rights.h"

struct row {
    const struct right *right;
    enum rights_verdict verdict;
};

struct check_rights {
    const struct redis_settings *settings;
    unsigned roles;
    const char *said;
    size_t count;
    struct row rows[];
};

static size_t count_rights(void)
{
    size_t count = 0;

    while (rights_get(count) != NULL)
        count++;
    return count;
}

struct check_rights *check_rights_try(TALLOC_CTX *ctx, struct cache *cache,
                                      const struct redis_settings *settings, unsigned roles)
{
    struct check_rights *checked = mem_check(
        talloc_zero_size(ctx, sizeof(struct check_rights) + count_rights() * sizeof(struct row)));
    struct redis_rights *rights = redis_rights_new(checked, cache, settings);
    const struct right *right;

    checked->settings = settings;
    checked->roles = roles;
    for (size_t i = 0; (right = rights_get(i)) != NULL; i++)
        if ((right->roles & roles) != 0 && rights_matters(right, settings))
            checked->rows[checked->count++] =
                (struct row){.right = right, .verdict = redis_rights_try(rights, right)};
    checked->said = redis_rights_said(rights);
    return checked;
}

/* "worker, refresher" */
static char *list_roles(TALLOC_CTX *ctx, unsigned roles)
{
    char *list = mem_check(talloc_strdup(ctx, ""));

    for (unsigned role = 1; role < RIGHTS_ALL; role *= 2)
        if ((roles & role) != 0)
            list = mem_check(talloc_asprintf_append(list, "%s%s", list[0] != '\0' ? ", " : "",
                                                    rights_role_name(role)));
    return list;
}

static char *describe(TALLOC_CTX *ctx, const struct check_rights *checked, const struct row *row)
{
    const char *rules = rights_rules(ctx, row->right, checked->settings);
    const char *right = rights_describe(ctx, row->right, checked->settings);

    return mem_check(talloc_asprintf(ctx, "%s: missing for the %s, %s (%s)", right,
                                     list_roles(ctx, row->right->roles & checked->roles),
                                     row->right->purpose, rules));
}

static enum check_rights_level level_of(const struct check_rights *checked, const struct row *row)
{
    bool serves = (row->right->roles & checked->roles & (RIGHTS_WORKER | RIGHTS_REFRESHER)) != 0;

    return row->right->needed && serves ? CHECK_RIGHTS_PROBLEM : CHECK_RIGHTS_WARNING;
}

void check_rights_report(const struct check_rights *checked,
                         void (*found)(void *data, enum check_rights_level level, const char *text),
                         void *data)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    size_t missing = 0, unknown = 0;

    for (size_t i = 0; i < checked->count; i++) {
        const struct row *row = &checked->rows[i];
        unknown += row->verdict == RIGHTS_UNKNOWN;
        if (row->verdict != RIGHTS_MISSING)
            continue;
        missing++;
        found(data, level_of(checked, row), describe(ctx, checked, row));
    }
    if (unknown > 0)
        found(data, CHECK_RIGHTS_WARNING,
              mem_check(talloc_asprintf(ctx, "%zu of %zu rights cannot be tried: %s", unknown,
                                        checked->count, checked->said)));
    else if (missing == 0)
        found(data, CHECK_RIGHTS_OK,
              mem_check(talloc_asprintf(ctx, "all %zu of: %s", checked->count,
                                        list_roles(ctx, checked->roles))));
    talloc_free(ctx);
}

static void print_row(const struct check_rights *checked, const struct row *row,
                      struct json_out *json)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));

    json_open_object(json, NULL);
    json_text(json, "right", rights_describe(ctx, row->right, checked->settings));
    json_text(json, "rules", rights_rules(ctx, row->right, checked->settings));
    json_open_array(json, "roles");
    for (unsigned role = 1; role < RIGHTS_ALL; role *= 2)
        if ((row->right->roles & role) != 0)
            json_text(json, NULL, rights_role_name(role));
    json_close_array(json);
    json_text(json, "purpose", row->right->purpose);
    json_bool(json, "needed", row->right->needed);
    if (row->verdict == RIGHTS_UNKNOWN)
        json_null(json, "granted");
    else
        json_bool(json, "granted", row->verdict == RIGHTS_GRANTED);
    json_close_object(json);
    talloc_free(ctx);
}

void check_rights_print(const struct check_rights *checked, struct json_out *json, const char *key)
{
    json_open_array(json, key);
    for (size_t i = 0; i < checked->count; i++)
        print_row(checked, &checked->rows[i], json);
    json_close_array(json);
}
