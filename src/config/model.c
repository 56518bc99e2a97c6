/* SPDX-License-Identifier: BSD-2-Clause */
/* The words of the file for the values of the model's enums. */
#include "config.h"

#include "config/model.h"

const char *param_type_name(enum param_type type)
{
    static const char *const names[] = {
        [PARAM_INT] = "int",   [PARAM_NUMBER] = "number", [PARAM_BOOL] = "bool",
        [PARAM_TEXT] = "text", [PARAM_UUID] = "uuid",     [PARAM_DATE] = "date",
        [PARAM_ENUM] = "enum",
    };

    return names[type];
}

const char *route_shape_name(enum route_shape shape)
{
    static const char *const names[] = {
        [SHAPE_OBJECT] = "object",
        [SHAPE_ARRAY] = "array",
        [SHAPE_VALUE] = "value",
    };

    return names[shape];
}
