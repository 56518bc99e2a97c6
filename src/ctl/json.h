/* SPDX-License-Identifier: BSD-2-Clause */
/* JSON for machines, on standard output. */
#ifndef LEEWAY_CTL_JSON_H
#define LEEWAY_CTL_JSON_H

#include <stdbool.h>
#include <stdint.h>

struct json_out;

struct json_out *json_begin(void);

/* Prints what was written, and a line feed, and frees it. */
void json_end(struct json_out *json);

/* `key` is NULL inside an array and for the outermost value. A text that is not UTF-8 is written as
   null, as is NULL. */
void json_open_object(struct json_out *json, const char *key);
void json_close_object(struct json_out *json);
void json_open_array(struct json_out *json, const char *key);
void json_close_array(struct json_out *json);
void json_text(struct json_out *json, const char *key, const char *text);
void json_number(struct json_out *json, const char *key, int64_t number);
void json_seconds(struct json_out *json, const char *key, int64_t micros);
void json_bool(struct json_out *json, const char *key, bool value);
void json_null(struct json_out *json, const char *key);

#endif
