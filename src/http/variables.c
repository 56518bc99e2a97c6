/* SPDX-License-Identifier: BSD-2-Clause */
/* Most variables of a request are not wanted: they are told by the length of their names. */
#include "config.h"

#include "http/variables.h"

#include <string.h>

#include "base/mem.h"

static size_t length_class(size_t len)
{
    return len < VARIABLES_LENGTHS ? len : VARIABLES_LENGTHS - 1;
}

struct variables *variables_new(TALLOC_CTX *ctx)
{
    return mem_check(talloc_zero(ctx, struct variables));
}

void variables_add(struct variables *variables, const char *name, bool is_list)
{
    size_t *first = &variables->by_length[length_class(strlen(name))];

    variables->items = mem_check(talloc_realloc(variables, variables->items, struct variable,
                                                (unsigned)variables->count + 1));
    variables->items[variables->count++] = (struct variable){
        .name = name, .name_len = strlen(name), .is_list = is_list, .next = *first};
    *first = variables->count;
}

/* The last letter tells most names of one length apart. */
static bool has_name(const struct variable *variable, const char *entry, size_t len)
{
    return variable->name_len == len && len > 0 && variable->name[len - 1] == entry[len - 1] &&
           memcmp(entry, variable->name, len) == 0;
}

/* Behind what was joined before, so that thousands of lines take no more memory than they are long.
 */
static void join_line(struct variable *variable, const char *value, TALLOC_CTX *ctx)
{
    if (variable->joined == NULL)
        variable->joined = mem_check(talloc_strdup(ctx, variable->value));
    variable->joined = mem_check(talloc_asprintf_append_buffer(variable->joined, ", %s", value));
    variable->value = variable->joined;
}

/* false: it has another value already. */
static bool take_value(struct variable *variable, const char *value, TALLOC_CTX *ctx)
{
    if (variable->value == NULL) {
        variable->value = value;
    } else if (strcmp(variable->value, value) == 0) {
        return true;
    } else if (variable->is_list) {
        join_line(variable, value, ctx);
    } else {
        return false;
    }
    variable->value_len = strlen(variable->value);
    return true;
}

const char *variables_find(struct variables *variables, char *const *entries, TALLOC_CTX *ctx)
{
    const char *ambiguous = NULL;

    for (size_t i = 0; i < variables->count; i++)
        variables->items[i].value = variables->items[i].joined = NULL;
    for (; *entries != NULL; entries++) {
        const char *equals = strchr(*entries, '=');
        size_t len = equals != NULL ? (size_t)(equals - *entries) : 0;
        struct variable *variable;
        for (size_t i = variables->by_length[length_class(len)]; i > 0; i = variable->next) {
            variable = &variables->items[i - 1];
            if (has_name(variable, *entries, len) && !take_value(variable, equals + 1, ctx) &&
                ambiguous == NULL)
                ambiguous = variable->name;
        }
    }
    return ambiguous;
}
