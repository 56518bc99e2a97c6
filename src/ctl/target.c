/* SPDX-License-Identifier: BSD-2-Clause */
/* The same steps as a worker's, with variables from the command line. */
#include "config.h"

#include "cache/keys.h"

#include "ctl/target.h"

#include <string.h>

#include "base/mem.h"
#include "ctl/keys.h"

static bool has_name(const struct target *target, const char *name, size_t len)
{
    for (size_t i = 0; i < target->n_variables; i++)
        if (strncmp(target->variables[i], name, len) == 0 && target->variables[i][len] == '=')
            return true;
    return false;
}

bool target_add_variable(struct target *target, const char *variable)
{
    size_t len = strcspn(variable, "=");

    if (variable[len] == '\0' || target->n_variables == TARGET_MAX_VARIABLES ||
        has_name(target, variable, len))
        return false;
    target->variables[target->n_variables++] = variable;
    return true;
}

static const char *find_variable(void *data, const char *name)
{
    const struct target *target = data;
    size_t len = strlen(name);

    for (size_t i = 0; i < target->n_variables; i++)
        if (strncmp(target->variables[i], name, len) == 0 && target->variables[i][len] == '=')
            return target->variables[i] + len + 1;
    return NULL;
}

/* As a worker makes it. */
static void make_base(struct ctl *ctl, TALLOC_CTX *ctx, struct target *target)
{
    const struct route *route = target->resolved.match.route;
    const struct ctl_keys *keys = ctl_keys(ctl);
    char fixed[FINGERPRINT_HEX + 1], fingerprint[FINGERPRINT_HEX + 1];

    if (!ctl_keys_known(keys))
        return;
    application_fingerprint(ctl->app, route, keys->record.identity, fixed);
    fingerprint_of_generation(fixed, keys->generation, fingerprint);
    target->base = key_base(ctx, ctl->app->config->settings.redis.prefix, route, fingerprint,
                            &target->resolved.values);
}

void target_resolve(struct ctl *ctl, TALLOC_CTX *ctx, const char *url, struct target *target)
{
    const struct request_target asked = {
        .raw = url[0] != '\0' ? url : "/", .script_name = "", .path_info = "", .query = ""};

    resolve(ctx, ctl->app, &asked, find_variable, target, &target->resolved);
    if (target->resolved.match.route == NULL)
        return;
    target->rules = application_rules(ctl->app, target->resolved.match.route);
    if (target->resolved.kind == RESOLVED_ROUTE)
        make_base(ctl, ctx, target);
}

const char *target_hint(const struct ctl *ctl, TALLOC_CTX *ctx, const char *url,
                        const struct target *target)
{
    const char *mount = ctl->app->config->settings.mount;
    struct slice path, query, below;

    if (target->resolved.status != 404 || mount[0] == '\0' || !uri_split(url, &path, &query) ||
        uri_below_mount(path, mount, &below))
        return "";
    return mem_check(talloc_asprintf(ctx, " A URL begins with the mount, %s.", mount));
}
