/* SPDX-License-Identifier: BSD-2-Clause */
/* `param` blocks: where a route's parameters come from and what they may be. */
#include "config.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "config/build.h"
#include "config/keys.h"
#include "config/pattern.h"

static bool given(const struct config_block *block, const char *name)
{
    return config_block_find(block, name) != NULL;
}

static int fail_at_key(const struct config_build *build, const struct config_block *block,
                       const char *key, const char *sentence)
{
    return config_build_fail(build, config_block_place(block, key), "param \"%s\": %s",
                             block->title, sentence);
}

static int check_source(const struct config_build *build, const struct config_block *block,
                        const struct param_keys *keys, enum param_source source)
{
    if (source == PARAM_FROM_PATH && keys->from != NULL)
        return fail_at_key(build, block, "from",
                           "it comes from the path, as the pattern has its name; remove from or "
                           "rename it");
    if (source == PARAM_FROM_PATH && keys->default_text != NULL)
        return fail_at_key(build, block, "default",
                           "it comes from the path and is never absent; remove default");
    if (source == PARAM_FROM_PATH && !keys->required)
        return fail_at_key(build, block, "required",
                           "it comes from the path and is never absent; remove required");
    if (source != PARAM_FROM_PATH && keys->slashes)
        return fail_at_key(build, block, "slashes",
                           "slashes is for a parameter from the path; remove slashes");
    if (source == PARAM_FROM_VARIABLE && keys->default_text != NULL)
        return fail_at_key(build, block, "default",
                           "a request without the variable of from is refused; remove default");
    if (source == PARAM_FROM_VARIABLE && !keys->required)
        return fail_at_key(build, block, "required",
                           "a request without the variable of from is refused; remove required");
    if (keys->default_text != NULL && given(block, "required"))
        return fail_at_key(build, block, "required",
                           "default and required exclude each other; remove one");
    return 0;
}

/* The server's own variables have names that no client can choose. */
static void warn_of_header(const struct config_build *build, const struct config_block *block,
                           const struct param_keys *keys)
{
    if (keys->from != NULL && strncmp(keys->from, "HTTP_", 5) == 0)
        config_build_warn(build, config_block_place(block, "from"),
                          "param \"%s\": %s is a request header, which a client can send too, also "
                          "with other characters for \"-\"; let the web server set a variable of "
                          "its own",
                          block->title, keys->from);
}

static int check_type(const struct config_build *build, const struct config_block *block,
                      const struct param_keys *keys)
{
    bool numeric = keys->type == PARAM_INT || keys->type == PARAM_NUMBER;

    if (keys->min != NULL && !numeric)
        return fail_at_key(build, block, "min", "min is for the types int and number only");
    if (keys->max != NULL && !numeric)
        return fail_at_key(build, block, "max", "max is for the types int and number only");
    if (given(block, "max_length") && keys->type != PARAM_TEXT)
        return fail_at_key(build, block, "max_length", "max_length is for the type text only");
    if (keys->slashes && keys->type != PARAM_TEXT && keys->type != PARAM_ENUM)
        return fail_at_key(build, block, "slashes", "slashes is for the types text and enum only");
    if (keys->values != NULL && keys->type != PARAM_ENUM)
        return fail_at_key(build, block, "values", "values is for the type enum only");
    if (keys->values == NULL && keys->type == PARAM_ENUM)
        return config_build_fail(build, block->place,
                                 "param \"%s\": an enum needs values = {\"a\", \"b\"}",
                                 block->title);
    return 0;
}

static bool is_decimal(const char *text)
{
    size_t whole = strspn(text += *text == '-', "0123456789");
    size_t places = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;

    return whole > 0 && whole + places <= 64 &&
           (text[whole] == '\0' || (places > 0 && text[whole + 1 + places] == '\0'));
}

/* Orders two decimals without signs. */
static int compare_magnitudes(const char *a, const char *b)
{
    a += strspn(a, "0");
    b += strspn(b, "0");
    size_t a_whole = strcspn(a, "."), b_whole = strcspn(b, ".");
    if (a_whole != b_whole)
        return a_whole < b_whole ? -1 : 1;
    int order = strncmp(a, b, a_whole);
    if (order != 0)
        return order;
    a += a_whole + (a[a_whole] == '.');
    b += b_whole + (b[b_whole] == '.');
    while (*a != '\0' || *b != '\0') {
        char a_digit = *a != '\0' ? *a++ : '0', b_digit = *b != '\0' ? *b++ : '0';
        if (a_digit != b_digit)
            return a_digit < b_digit ? -1 : 1;
    }
    return 0;
}

static bool is_above(const char *a, const char *b)
{
    bool a_negative = a[0] == '-', b_negative = b[0] == '-';
    int order = compare_magnitudes(a + a_negative, b + b_negative);

    if (a_negative != b_negative)
        return b_negative && (order != 0 || strpbrk(a, "123456789") != NULL);
    return a_negative ? order < 0 : order > 0;
}

static int check_bound(const struct config_build *build, const struct config_block *block,
                       enum param_type type, const char *key, const char *text)
{
    int64_t number;

    if (text == NULL)
        return 0;
    if (type == PARAM_INT && !num_parse_i64(text, strlen(text), &number))
        return fail_at_key(build, block, key, "the bound of an int must be a whole number");
    if (type == PARAM_NUMBER && !is_decimal(text))
        return fail_at_key(build, block, key,
                           "the bound of a number must be a decimal of at most 64 digits");
    return 0;
}

static int check_bounds(const struct config_build *build, const struct config_block *block,
                        const struct param_keys *keys)
{
    if (check_bound(build, block, keys->type, "min", keys->min) == -1 ||
        check_bound(build, block, keys->type, "max", keys->max) == -1)
        return -1;
    if (keys->min != NULL && keys->max != NULL && is_above(keys->min, keys->max))
        return fail_at_key(build, block, "max", "max is below min, so no value can pass");
    return 0;
}

static int check_name(const struct config_build *build, const struct config_block *block,
                      const struct route *route)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:[]-";
    size_t len = strlen(block->title);

    if (len == 0 || len > 64 || strspn(block->title, allowed) < len)
        return config_build_fail(build, block->place,
                                 "the name of param \"%s\" must be 1 to 64 letters, digits and any "
                                 "of \"_.:[]-\"",
                                 block->title);
    for (size_t i = 0; i < route->n_params; i++)
        if (strcmp(route->params[i].name, block->title) == 0)
            return config_build_fail(
                build, block->place, "param \"%s\" is given twice in this route; first in %s:%d",
                block->title, route->params[i].place.file, route->params[i].place.line);
    if (route->n_params == CONFIG_MAX_PARAMS)
        return config_build_fail(build, block->place, "a route can have %d params at most",
                                 CONFIG_MAX_PARAMS);
    return 0;
}

static int read_param(const struct config_build *build, const struct config_block *block,
                      const struct route *route, struct param_spec *param)
{
    struct param_keys keys = {0};
    enum param_source source = PARAM_FROM_QUERY;

    if (check_name(build, block, route) == -1 ||
        config_read_keys(build, "param", block, &keys) == -1)
        return -1;
    if (pattern_has_name(route->pattern, block->title))
        source = PARAM_FROM_PATH;
    else if (keys.from != NULL)
        source = PARAM_FROM_VARIABLE;
    if (check_source(build, block, &keys, source) == -1 || check_type(build, block, &keys) == -1 ||
        check_bounds(build, block, &keys) == -1)
        return -1;
    warn_of_header(build, block, &keys);
    *param = (struct param_spec){
        .name = block->title,
        .place = block->place,
        .type = keys.type,
        .source = source,
        .variable = keys.from,
        .default_text = keys.default_text,
        .default_place = config_block_place(block, "default"),
        .required = keys.required && keys.default_text == NULL,
        .min = keys.min,
        .max = keys.max,
        .max_length = keys.max_length,
        .slashes = keys.slashes,
        .values = keys.values,
    };
    return 0;
}

static int check_names_have_params(const struct config_build *build, const struct route *route)
{
    const char *cursor = route->pattern;
    struct pattern_segment segment;

    while (pattern_next(&cursor, &segment)) {
        bool found = !segment.is_name;
        for (size_t i = 0; !found && i < route->n_params; i++)
            found = strlen(route->params[i].name) == segment.len &&
                    memcmp(route->params[i].name, segment.text, segment.len) == 0;
        if (!found)
            return config_build_fail(
                build, route->place, "{%.*s} in the pattern \"%s\" has no param \"%.*s\" block",
                (int)segment.len, segment.text, route->pattern, (int)segment.len, segment.text);
    }
    return 0;
}

int config_build_params(const struct config_build *build, const struct config_block *block,
                        struct route *route)
{
    struct param_spec *params =
        mem_check(talloc_zero_array(build->config, struct param_spec, block->n_blocks + 1));

    route->params = params;
    for (size_t i = 0; i < block->n_blocks; i++) {
        if (read_param(build, block->blocks[i], route, &params[i]) == -1)
            return -1;
        route->private = route->private || params[i].source == PARAM_FROM_VARIABLE;
        route->n_params++;
    }
    return check_names_have_params(build, route);
}
