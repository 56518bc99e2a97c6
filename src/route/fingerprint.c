/* SPDX-License-Identifier: BSD-2-Clause */
/* Fields with their lengths, hashed. */
#include "config.h"

#include "route/fingerprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/mem.h"

/* Preceded by its length, so that no two sequences of fields are the same bytes. */
static void put_field(struct buf *out, const char *text)
{
    if (text == NULL) {
        buf_append_char(out, '-');
        return;
    }
    buf_printf(out, "%zu:", strlen(text));
    buf_append_str(out, text);
}

static void put_number(struct buf *out, int64_t number)
{
    buf_printf(out, "%" PRId64 ";", number);
}

static void put_spec(struct buf *out, const struct param_spec *spec)
{
    put_field(out, spec->name);
    put_field(out, param_type_name(spec->type));
    put_number(out, spec->source);
    put_field(out, spec->variable);
    put_field(out, spec->default_text);
    put_number(out, spec->required);
    put_field(out, spec->min);
    put_field(out, spec->max);
    put_number(out, spec->max_length);
    for (const char *const *value = spec->values; value != NULL && *value != NULL; value++)
        put_field(out, *value);
    put_field(out, NULL);
}

void fingerprint_of_route(const struct route *route, const struct fingerprint_scope *scope,
                          char out[FINGERPRINT_HEX + 1])
{
    struct buf text;

    buf_init(&text, NULL, 1024);
    put_field(&text, scope->prefix);
    put_field(&text, scope->identity);
    put_number(&text, scope->entry_version);
    put_field(&text, route->sql);
    put_field(&text, route_shape_name(route->shape));
    put_number(&text, (int64_t)route->n_params);
    for (size_t i = 0; i < route->n_params; i++)
        put_spec(&text, &route->params[i]);
    snprintf(out, FINGERPRINT_HEX + 1, "%016" PRIx64, (uint64_t)XXH3_64bits(text.data, text.len));
    talloc_free(text.data);
}

void fingerprint_of_generation(const char *fingerprint, uint64_t generation,
                               char out[FINGERPRINT_HEX + 1])
{
    uint64_t hash = XXH3_64bits_withSeed(fingerprint, strlen(fingerprint), generation);

    snprintf(out, FINGERPRINT_HEX + 1, "%016" PRIx64, hash);
}
