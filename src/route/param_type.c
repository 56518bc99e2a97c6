/* SPDX-License-Identifier: BSD-2-Clause */
/* The parameter types: what each takes, its canonical form, and its bounds. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/utf8.h"
#include "route/param.h"

#define DIGITS "0123456789"

enum { NUMBER_DIGITS = 64, NUMBER_BYTES = NUMBER_DIGITS + sizeof "-." };

static bool parse_int(const char *text, int64_t *value)
{
    return num_parse_i64(text, strlen(text), value);
}

/* Neither leading zeros nor "-0". */
static bool is_canonical_int(const char *text)
{
    if (*text == '-')
        return text[1] != '0';
    return *text != '0' || text[1] == '\0';
}

static const char *canonical_int(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text)
{
    int64_t value, bound;

    if (!parse_int(text, &value))
        return NULL;
    if (spec->min != NULL && (!parse_int(spec->min, &bound) || value < bound))
        return NULL;
    if (spec->max != NULL && (!parse_int(spec->max, &bound) || value > bound))
        return NULL;
    return is_canonical_int(text) ? text : mem_check(talloc_asprintf(ctx, "%" PRId64, value));
}

/* No leading zeros, no trailing ones behind the point, no "-0". */
static bool parse_decimal(const char *text, char out[NUMBER_BYTES])
{
    bool negative = *text == '-';
    const char *whole = negative ? text + 1 : text;
    size_t n_whole = strspn(whole, DIGITS);
    bool point = whole[n_whole] == '.';
    const char *fraction = whole + n_whole + (point ? 1 : 0);
    size_t n_fraction = point ? strspn(fraction, DIGITS) : 0;

    if (n_whole == 0 || (point && n_fraction == 0) || fraction[n_fraction] != '\0' ||
        n_whole + n_fraction > NUMBER_DIGITS)
        return false;
    for (; n_whole > 1 && *whole == '0'; n_whole--)
        whole++;
    while (n_fraction > 0 && fraction[n_fraction - 1] == '0')
        n_fraction--;
    bool zero = n_fraction == 0 && *whole == '0';
    snprintf(out, NUMBER_BYTES, "%s%.*s%s%.*s", negative && !zero ? "-" : "", (int)n_whole, whole,
             n_fraction > 0 ? "." : "", (int)n_fraction, fraction);
    return true;
}

/* Both without sign and as parse_decimal() gives them. */
static int compare_magnitudes(const char *a, const char *b)
{
    size_t n_a = strcspn(a, "."), n_b = strcspn(b, ".");

    if (n_a != n_b)
        return n_a < n_b ? -1 : 1;
    return strcmp(a, b);
}

static int compare_decimals(const char *a, const char *b)
{
    if (*a == '-' && *b == '-')
        return compare_magnitudes(b + 1, a + 1);
    if (*a == '-' || *b == '-')
        return *a == '-' ? -1 : 1;
    return compare_magnitudes(a, b);
}

static const char *canonical_number(TALLOC_CTX *ctx, const struct param_spec *spec,
                                    const char *text)
{
    char value[NUMBER_BYTES], bound[NUMBER_BYTES];

    if (!parse_decimal(text, value))
        return NULL;
    if (spec->min != NULL &&
        (!parse_decimal(spec->min, bound) || compare_decimals(value, bound) < 0))
        return NULL;
    if (spec->max != NULL &&
        (!parse_decimal(spec->max, bound) || compare_decimals(value, bound) > 0))
        return NULL;
    return mem_check(talloc_strdup(ctx, value));
}

static const char *canonical_bool(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text)
{
    (void)ctx;
    (void)spec;
    if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
        return "true";
    if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
        return "false";
    return NULL;
}

static const char *canonical_text(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text)
{
    ssize_t chars = utf8_length(text, strlen(text));

    (void)ctx;
    return chars >= 0 && chars <= spec->max_length ? text : NULL;
}

/* Whether `text` is as long as `form` and has a digit of `digits` where `form`
   has 'x', and the same character elsewhere. */
static bool has_form(const char *text, const char *form, const char *digits)
{
    for (; *form != '\0'; form++, text++)
        if (*form == 'x' ? *text == '\0' || strchr(digits, *text) == NULL : *text != *form)
            return false;
    return *text == '\0';
}

static const char *canonical_uuid(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text)
{
    (void)spec;
    if (!has_form(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", DIGITS "abcdefABCDEF"))
        return NULL;
    char *lower = mem_check(talloc_strdup(ctx, text));
    for (char *c = lower; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'F')
            *c = (char)(*c - 'A' + 'a');
    return lower;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

static int digits_value(const char *text, size_t len)
{
    int value = 0;

    for (size_t i = 0; i < len; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

static const char *canonical_date(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text)
{
    (void)ctx;
    (void)spec;
    if (!has_form(text, "xxxx-xx-xx", DIGITS))
        return NULL;
    int year = digits_value(text, 4);
    int month = digits_value(text + 5, 2);
    int day = digits_value(text + 8, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return NULL;
    return text;
}

static const char *canonical_enum(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text)
{
    (void)ctx;
    for (const char *const *value = spec->values; value != NULL && *value != NULL; value++)
        if (strcmp(*value, text) == 0)
            return text;
    return NULL;
}

static const struct {
    const char *(*canonical)(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text);
    const char *noun;
    bool bounds; /* takes min and max */
} types[] = {
    [PARAM_INT] = {canonical_int, "an integer", true},
    [PARAM_NUMBER] = {canonical_number, "a plain decimal number", true},
    [PARAM_BOOL] = {canonical_bool, "true or false", false},
    [PARAM_TEXT] = {canonical_text, "UTF-8 text", false},
    [PARAM_UUID] = {canonical_uuid, "a UUID", false},
    [PARAM_DATE] = {canonical_date, "a date such as 2024-02-29", false},
    [PARAM_ENUM] = {canonical_enum, "one of", false},
};

const char *param_canonical(TALLOC_CTX *ctx, const struct param_spec *spec, const char *text)
{
    return types[spec->type].canonical(ctx, spec, text);
}

char *param_requirement(TALLOC_CTX *ctx, const struct param_spec *spec)
{
    struct buf out;

    buf_init(&out, ctx, 0);
    buf_printf(&out, "must be %s", types[spec->type].noun);
    if (spec->min != NULL && spec->max != NULL)
        buf_printf(&out, " from %s to %s", spec->min, spec->max);
    else if (spec->min != NULL)
        buf_printf(&out, " of at least %s", spec->min);
    else if (spec->max != NULL)
        buf_printf(&out, " of at most %s", spec->max);
    if (spec->type == PARAM_TEXT)
        buf_printf(&out, " of at most %" PRId64 " characters", spec->max_length);
    for (size_t i = 0; spec->type == PARAM_ENUM && spec->values != NULL && spec->values[i]; i++)
        buf_printf(&out, "%s \"%s\"", i > 0 ? "," : "", spec->values[i]);
    return out.data;
}

static int check_text(TALLOC_CTX *ctx, const struct param_spec *spec, const char *what,
                      const char *text, struct config_place place, struct config_error *error)
{
    TALLOC_CTX *scratch = mem_check(talloc_new(NULL));
    int result = 0;

    if (text != NULL && param_canonical(scratch, spec, text) == NULL)
        result = config_fail(ctx, error, place, "%s of param \"%s\" %s", what, spec->name,
                             param_requirement(scratch, spec));
    talloc_free(scratch);
    return result;
}

int param_check_spec(TALLOC_CTX *ctx, const struct param_spec *spec, struct config_error *error)
{
    struct param_spec partial = *spec;

    if (!types[spec->type].bounds && (spec->min != NULL || spec->max != NULL))
        return config_fail(ctx, error, spec->place, "param \"%s\" of type %s takes no %s",
                           spec->name, param_type_name(spec->type),
                           spec->min != NULL ? "min" : "max");
    partial.min = partial.max = NULL;
    if (check_text(ctx, &partial, "min", spec->min, spec->place, error) != 0)
        return -1;
    partial.min = spec->min;
    if (check_text(ctx, &partial, "max", spec->max, spec->place, error) != 0)
        return -1;
    return check_text(ctx, spec, "default", spec->default_text, spec->default_place, error);
}
