/* SPDX-License-Identifier: BSD-2-Clause */
/* From a request's path, query and variables to a route's values. */
#include "config.h"

#include "route/param.h"

#include <stdarg.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_PAIRS = 256 };

/* One call of param_bind(). */
struct binding {
    TALLOC_CTX *ctx;
    const struct route_match *match;
    const char **texts; /* by the parameters' index; first from path and query only */
    const char **detail;
};

static int refuse(const struct binding *binding, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const struct binding *binding, int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    *binding->detail = mem_check(talloc_vasprintf(binding->ctx, format, args));
    va_end(args);
    return status;
}

/* false: `name` is not that of a query parameter. */
static bool find_query_param(const struct route *route, const char *name, size_t *index)
{
    for (size_t i = 0; i < route->n_params; i++) {
        if (route->params[i].source == PARAM_FROM_QUERY &&
            strcmp(route->params[i].name, name) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

static int refuse_encoding(const struct binding *binding, const char *name)
{
    return refuse(binding, 400, "Parameter \"%s\" is not percent-encoded UTF-8 without NUL.", name);
}

static int take_pair(const struct binding *binding, const char *name, struct slice raw)
{
    const struct route *route = binding->match->route;
    size_t i;

    if (!find_query_param(route, name, &i)) {
        if (route->reject_unknown_params)
            return refuse(binding, 400, "Parameter \"%s\" is unknown here.", name);
        return 0;
    }
    if (binding->texts[i] != NULL)
        return refuse(binding, 400, "Parameter \"%s\" is given twice.", name);
    binding->texts[i] = uri_decode(binding->ctx, raw, URI_DECODE_QUERY, NULL);
    return binding->texts[i] != NULL ? 0 : refuse_encoding(binding, name);
}

static int take_query(const struct binding *binding, struct slice query)
{
    struct slice raw_name, raw_value;
    size_t pairs = 0;

    while (uri_next_pair(&query, &raw_name, &raw_value)) {
        if (++pairs > MAX_PAIRS)
            return refuse(binding, 400, "The query has more than %d parameters.", MAX_PAIRS);
        char *name = uri_decode(binding->ctx, raw_name, URI_DECODE_QUERY, NULL);
        if (name == NULL)
            return refuse(binding, 400,
                          "A parameter's name is not percent-encoded UTF-8 without NUL.");
        int status = take_pair(binding, name, raw_value);
        talloc_free(name);
        if (status != 0)
            return status;
    }
    return 0;
}

/* A web server in front may have taken the path apart where there is a separator, dots or what
   stands before a ';', and have let it through for another place than this route's. */
static int check_separators(const struct binding *binding, const struct param_spec *spec,
                            const char *text)
{
    const struct slice all = {text, strlen(text)}, name = {text, strcspn(text, ";")};

    if (spec->slashes && uri_is_dots(all))
        return refuse(binding, 404, "There is no such route."); /* as in a route for everybody */
    if (spec->slashes || (strpbrk(text, "/\\") == NULL && !uri_is_dots(name)))
        return 0;
    return refuse(binding, 400, "Parameter \"%s\" must not hold \"/\", \"\\\" or be dots.",
                  spec->name);
}

/* Before anything else is looked at. */
static int take_path(const struct binding *binding)
{
    const struct route *route = binding->match->route;

    for (size_t i = 0; i < route->n_params; i++) {
        const struct param_spec *spec = &route->params[i];
        if (spec->source != PARAM_FROM_PATH)
            continue;
        const char *text =
            uri_decode(binding->ctx, binding->match->values[i], URI_DECODE_PATH, NULL);
        if (text == NULL)
            return refuse_encoding(binding, spec->name);
        int status = route->private ? check_separators(binding, spec, text) : 0;
        if (status != 0)
            return status;
        binding->texts[i] = text;
    }
    return 0;
}

/* Sets *text to what the request says, not yet checked, or to NULL for NULL. */
static int take_text(const struct binding *binding, size_t index, param_variable_fn *variable,
                     void *data, const char **text)
{
    const struct param_spec *spec = &binding->match->route->params[index];

    switch (spec->source) {
    case PARAM_FROM_PATH:
        *text = binding->texts[index];
        return 0;
    case PARAM_FROM_VARIABLE:
        *text = variable(data, spec->variable);
        if (*text == NULL || **text == '\0')
            return refuse(binding, 401,
                          "Parameter \"%s\" comes from the web server, which gave none.",
                          spec->name);
        *text = mem_check(talloc_strdup(binding->ctx, *text));
        return 0;
    case PARAM_FROM_QUERY:
        break;
    }
    *text = binding->texts[index] != NULL ? binding->texts[index] : spec->default_text;
    if (*text == NULL && spec->required)
        return refuse(binding, 400, "Parameter \"%s\" is missing.", spec->name);
    return 0;
}

static int bind_one(const struct binding *binding, size_t index, param_variable_fn *variable,
                    void *data)
{
    const struct param_spec *spec = &binding->match->route->params[index];
    const char *text = NULL;
    int status = take_text(binding, index, variable, data, &text);

    if (status != 0 || text == NULL)
        return status;
    binding->texts[index] = param_canonical(binding->ctx, spec, text);
    if (binding->texts[index] == NULL)
        return refuse(binding, 400, "Parameter \"%s\" %s.", spec->name,
                      param_requirement(binding->ctx, spec));
    return 0;
}

int param_bind(TALLOC_CTX *ctx, const struct route_match *match, struct slice query,
               param_variable_fn *variable, void *data, struct param_values *values,
               const char **detail)
{
    size_t count = match->route->n_params;
    const struct binding binding = {
        .ctx = ctx,
        .match = match,
        .texts = mem_check(talloc_zero_array(ctx, const char *, count)),
        .detail = detail,
    };
    int status = take_path(&binding);

    if (status == 0)
        status = take_query(&binding, query);
    for (size_t i = 0; i < count && status == 0; i++)
        status = bind_one(&binding, i, variable, data);
    if (status == 0)
        *values = (struct param_values){binding.texts, count};
    return status;
}

static bool value_fits(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text)
{
    if (text == NULL)
        return spec->source == PARAM_FROM_QUERY && spec->default_text == NULL && !spec->required;
    if (spec->source != PARAM_FROM_QUERY && *text == '\0')
        return false;
    const char *canonical = param_canonical(ctx, spec, text);
    return canonical != NULL && strcmp(canonical, text) == 0;
}

bool param_values_fit(TALLOC_CTX *ctx, const struct route *route, const struct param_values *values)
{
    if (values->count != route->n_params)
        return false;
    for (size_t i = 0; i < values->count; i++)
        if (!value_fits(ctx, &route->params[i], values->texts[i]))
            return false;
    return true;
}
