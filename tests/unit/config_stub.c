/* SPDX-License-Identifier: BSD-2-Clause */
/* The three functions of the configuration module that routes link against. */
#include "config.h"

#include <stdarg.h>

#include "base/mem.h"
#include "config/load.h"

int config_fail(TALLOC_CTX *ctx, struct config_error *error, struct config_place place,
                const char *format, ...)
{
    va_list args;

    va_start(args, format);
    error->file = mem_check(talloc_strdup(ctx, place.file));
    error->line = place.line;
    error->text = mem_check(talloc_vasprintf(ctx, format, args));
    va_end(args);
    return -1;
}

const char *param_type_name(enum param_type type)
{
    static const char *const names[] = {"int", "number", "bool", "text", "uuid", "date", "enum"};

    return names[type];
}

const char *route_shape_name(enum route_shape shape)
{
    static const char *const names[] = {"object", "array", "value"};

    return names[shape];
}
