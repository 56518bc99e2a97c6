/* SPDX-License-Identifier: BSD-2-Clause */
/* From the texts of a block to typed values, by the table of settings.def. */
#include "config.h"

#include "config/keys.h"

#include <assert.h>
#include <grp.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"
#include "base/network.h"
#include "base/num.h"
#include "base/processors.h"
#include "coding/coding.h"
#include "config/pattern.h"

#define ROW(block, key, type, offset, default_text, min, max, prose)                               \
    {block, key, type, offset, default_text, min, max, prose},

static const struct config_key keys[] = {
#define SETTING(section, key, field, type, text, min, max, prose)                                  \
    ROW(section, key, type, offsetof(struct settings, field), text, min, max, prose)
#define CONTEXT_KEY(key, field, type, text, min, max, prose)                                       \
    ROW("context", key, type, offsetof(struct context_keys, field), text, min, max, prose)
#define ROUTE_KEY(key, field, type, text, min, max, prose)                                         \
    ROW("route", key, type, offsetof(struct route_keys, field), text, min, max, prose)
#define PARAM_KEY(key, field, type, text, min, max, prose)                                         \
    ROW("param", key, type, offsetof(struct param_keys, field), text, min, max, prose)
#include "config/settings.def"
};

const struct config_key *config_keys(size_t *count)
{
    *count = sizeof(keys) / sizeof(keys[0]);
    return keys;
}

bool config_key_is_list(const struct config_key *key)
{
    return key->type == KEY_LIST || key->type == KEY_ADDRESSES;
}

/* One value on its way into a field. */
struct reading {
    const struct config_build *build;
    const struct config_key *key;
    const struct config_entry *entry;
    const char *text; /* the entry's first */
    void *field;
};

static int refuse(const struct reading *r, const char *sentence)
{
    return config_build_fail(r->build, r->entry->place, "%s: \"%s\" %s", r->key->name, r->text,
                             sentence);
}

static int out_of_range(const struct reading *r)
{
    return config_build_fail(r->build, r->entry->place,
                             "%s: \"%s\" is out of range, it must be from %s to %s (%s)",
                             r->key->name, r->text, r->key->min, r->key->max, r->key->prose);
}

static bool parse_count(const char *text, int64_t *out)
{
    return num_parse_i64(text, strlen(text), out);
}

static bool parse_octal(const char *text, int64_t *out)
{
    size_t digits = strspn(text, "01234567");

    if (digits == 0 || digits > 6 || text[digits] != '\0')
        return false;
    *out = 0;
    for (; *text != '\0'; text++)
        *out = *out * 8 + (*text - '0');
    return true;
}

typedef bool parse_number_fn(const char *text, int64_t *out);

/* "010" is ten to some and eight to others: it is left to nobody's guess. */
static bool has_leading_zero(const char *text)
{
    return text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

static int read_number(struct reading *r, parse_number_fn *parse, const char *form)
{
    int64_t *field = r->field;
    int64_t value, bound;

    if (parse != parse_octal && has_leading_zero(r->text))
        return refuse(r, "begins with a zero; write it without");
    if (!parse(r->text, &value))
        return refuse(r, form);
    if (r->key->min != NULL && parse(r->key->min, &bound) && value < bound)
        return out_of_range(r);
    if (r->key->max != NULL && parse(r->key->max, &bound) && value > bound)
        return out_of_range(r);
    *field = value;
    return 0;
}

static int read_count(struct reading *r)
{
    return read_number(r, parse_count, "is not a whole number");
}

static int read_processes(struct reading *r)
{
    int64_t *field = r->field;

    if (strcmp(r->text, "auto") != 0)
        return read_number(r, parse_count, "is neither a whole number nor auto");
    int64_t processors = processors_available();
    *field = processors > 1024 ? 1024 : processors;
    return 0;
}

static int read_duration(struct reading *r)
{
    return read_number(r, num_parse_duration_ms,
                       "is not a duration; write 250ms, 30s, 2m, 1h or 1d");
}

static int read_size(struct reading *r)
{
    return read_number(r, num_parse_size, "is not a size; write 512, 64kb or 1mb");
}

static int read_mode(struct reading *r)
{
    return read_number(r, parse_octal, "is not an octal mode like 0660");
}

/* A number need not belong to a group that has a name. */
static int read_group(struct reading *r)
{
    int64_t *field = r->field;
    const struct group *group;

    *field = -1;
    if (r->text[0] == '\0')
        return 0;
    if (parse_count(r->text, field))
        return *field >= 0 && *field < UINT32_MAX ? 0 : refuse(r, "is not the number of a group");
    group = getgrnam(r->text);
    if (group == NULL)
        return refuse(r, "is not the name of a group of this machine");
    *field = group->gr_gid;
    return 0;
}

static int read_rate(struct reading *r)
{
    const char *problem = rate_parse(r->text, r->field);

    return problem == NULL ? 0 : refuse(r, problem);
}

static int read_share(struct reading *r)
{
    int64_t *field = r->field;
    size_t whole = strspn(r->text, "0123456789");
    const char *fraction = r->text + whole + (r->text[whole] == '.');
    size_t places = strspn(fraction, "0123456789");
    int64_t value;

    if (whole + places == 0 || fraction[places] != '\0')
        return refuse(r, "is not a decimal like 0.9");
    if (whole > 9 || places > 9)
        return refuse(r, "has more than nine digits before or behind the point");
    value = 0;
    for (size_t i = 0; i < whole; i++)
        value = value * 10 + (r->text[i] - '0');
    for (size_t i = 0; i < 9; i++)
        value = value * 10 + (i < places ? fraction[i] - '0' : 0);
    if (value <= 0 || value > 1000000000)
        return refuse(r, "is out of range, it must be above 0 and at most 1");
    *field = value;
    return 0;
}

static int read_bool(struct reading *r)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    bool *field = r->field;

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcmp(r->text, yes[i]) == 0 || strcmp(r->text, no[i]) == 0) {
            *field = strcmp(r->text, yes[i]) == 0;
            return 0;
        }
    }
    return refuse(r, "must be true or false");
}

static int read_log(struct reading *r)
{
    const char **field = r->field;

    if (strcmp(r->text, "stderr") != 0 && strcmp(r->text, "syslog") != 0 &&
        strncmp(r->text, "file:/", strlen("file:/")) != 0)
        return refuse(r, "must be stderr, syslog or file:PATH with an absolute path");
    *field = r->text;
    return 0;
}

static int read_pooler(struct reading *r)
{
    static const char *const names[] = {
        [POOLER_AUTO] = "auto", [POOLER_SESSION] = "session", [POOLER_TRANSACTION] = "transaction"};
    enum pooler *field = r->field;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(r->text, names[i]) == 0) {
            *field = (enum pooler)i;
            return 0;
        }
    }
    return refuse(r, "must be auto, session or transaction");
}

static int refuse_coding(struct reading *r)
{
    char *problem = mem_check(talloc_strdup(r->build->config, "must be "));

    for (size_t i = 0; coding_name(i) != NULL; i++)
        problem =
            mem_check(talloc_asprintf_append(problem, "%s%s", i > 0 ? ", " : "", coding_name(i)));
    return refuse(r, mem_check(talloc_asprintf_append(problem, " or none")));
}

static int read_coding(struct reading *r)
{
    const struct coding **field = r->field;

    *field = NULL;
    if (strcmp(r->text, "none") == 0)
        return 0;
    *field = coding_of(r->text, strlen(r->text));
    return *field != NULL ? 0 : refuse_coding(r);
}

static int read_shape(struct reading *r)
{
    enum route_shape *field = r->field;

    for (int shape = SHAPE_OBJECT; shape <= SHAPE_VALUE; shape++) {
        if (strcmp(r->text, route_shape_name((enum route_shape)shape)) == 0) {
            *field = (enum route_shape)shape;
            return 0;
        }
    }
    return refuse(r, "must be object, array or value");
}

static int read_param_type(struct reading *r)
{
    enum param_type *field = r->field;

    for (int type = PARAM_INT; type <= PARAM_ENUM; type++) {
        if (strcmp(r->text, param_type_name((enum param_type)type)) == 0) {
            *field = (enum param_type)type;
            return 0;
        }
    }
    return refuse(r, "must be int, number, bool, text, uuid, date or enum");
}

static int read_unknown(struct reading *r)
{
    bool *field = r->field;

    if (strcmp(r->text, "ignore") != 0 && strcmp(r->text, "reject") != 0)
        return refuse(r, "must be ignore or reject");
    *field = strcmp(r->text, "reject") == 0;
    return 0;
}

static int read_text(struct reading *r)
{
    const char **field = r->field;

    *field = r->text;
    return 0;
}

#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static int read_of_characters(struct reading *r, const char *allowed, const char *form)
{
    size_t len = strlen(r->text);

    if (len == 0 || len > 128 || strspn(r->text, allowed) < len)
        return refuse(r, form);
    return read_text(r);
}

static int read_name(struct reading *r)
{
    return read_of_characters(r, ALPHANUMERIC "_.-",
                              "must be 1 to 128 letters, digits, '_', '.' and '-'");
}

static int read_variable(struct reading *r)
{
    return read_of_characters(r, ALPHANUMERIC "_",
                              "is not the name of a FastCGI variable like REMOTE_USER");
}

static int read_prefix(struct reading *r)
{
    return read_of_characters(r, ALPHANUMERIC "_.:-",
                              "must be 1 to 128 letters, digits, '_', '.', ':' and '-'");
}

static int read_directory(struct reading *r)
{
    if (r->text[0] != '/')
        return refuse(r, "must be an absolute path");
    return read_text(r);
}

static bool is_port(const char *text)
{
    int64_t port;

    return parse_count(text, &port) && port >= 1 && port <= 65535;
}

/* What a name can have (RFC 1035, section 2.3.4), and brackets. */
enum { MAX_HOST = 255 };

static int read_address(struct reading *r)
{
    const char *rest = r->text + strcspn(r->text, ":");

    /* as in a URL, where a password stands before it: nothing of that is said */
    if (strncmp(r->text, "unix:", 5) != 0 && strchr(r->text, '@') != NULL)
        return config_build_fail(r->build, r->entry->place,
                                 "%s must be unix:PATH, tcp:HOST:PORT or tls:HOST:PORT; user name "
                                 "and password are keys of their own",
                                 r->key->name);
    if (strncmp(r->text, "unix:", 5) == 0) {
        if (rest[1] != '/')
            return refuse(r, "needs an absolute path behind unix:");
        if (strlen(rest + 1) >= sizeof(((struct sockaddr_un *)0)->sun_path))
            return refuse(r, "has too long a path for a socket");
        return read_text(r);
    }
    if (strncmp(r->text, "tcp:", 4) != 0 && strncmp(r->text, "tls:", 4) != 0)
        return refuse(r, "must be unix:PATH, tcp:HOST:PORT or tls:HOST:PORT");

    const char *host = rest + 1;
    const char *colon = strrchr(host, ':');
    if (colon == NULL || colon == host || !is_port(colon + 1))
        return refuse(r, "must be tcp:HOST:PORT or tls:HOST:PORT with a port from 1 to 65535");
    bool bracketed = host[0] == '[' && colon[-1] == ']' && colon - host > 2;
    if (!bracketed && memchr(host, ':', (size_t)(colon - host)) != NULL)
        return refuse(r, "needs brackets around an IPv6 address: tcp:[::1]:6379");
    size_t plain = strcspn(host + bracketed, "[]");
    if (host + bracketed + plain < colon - bracketed || colon - host > MAX_HOST)
        return refuse(r, "has a malformed host");
    return read_text(r);
}

static int read_path(struct reading *r)
{
    const char *problem = pattern_path_problem(r->build->ctx, r->text);

    if (problem != NULL)
        return config_build_fail(r->build, r->entry->place, "%s: \"%s\" is malformed: %s",
                                 r->key->name, r->text, problem);
    return read_text(r);
}

static int read_url_path(struct reading *r)
{
    return r->text[0] == '\0' ? read_text(r) : read_path(r);
}

static int read_mount(struct reading *r)
{
    const char **field = r->field;

    if (read_path(r) == -1)
        return -1;
    size_t len = strlen(r->text);
    len -= r->text[len - 1] == '/';
    *field = mem_check(talloc_strndup(r->build->config, r->text, len));
    return 0;
}

static int read_list(struct reading *r)
{
    const char *const **field = r->field;

    for (size_t i = 0; i < r->entry->n_texts; i++) {
        r->text = r->entry->texts[i];
        if (r->text[0] == '\0')
            return refuse(r, "is empty");
        for (size_t j = 0; j < i; j++)
            if (strcmp(r->text, r->entry->texts[j]) == 0)
                return refuse(r, "is given twice");
    }
    *field = r->entry->texts;
    return 0;
}

static int read_addresses(struct reading *r)
{
    const struct networks **field = r->field;
    size_t count = r->entry->n_texts;
    struct networks *networks = mem_check(
        talloc_zero_size(r->build->config, sizeof *networks + count * sizeof networks->items[0]));

    for (size_t i = 0; i < count; i++) {
        r->text = r->entry->texts[i];
        const char *problem = network_parse(r->text, &networks->items[i]);
        if (problem != NULL)
            return refuse(r, problem);
        for (size_t j = 0; j < i; j++)
            if (network_equals(&networks->items[i], &networks->items[j]))
                return refuse(r, "is given twice");
        networks->count++;
    }
    *field = networks;
    return 0;
}

static int read_value(struct reading *r)
{
    static int (*const readers[])(struct reading *) = {
        [KEY_COUNT] = read_count,         [KEY_PROCESSES] = read_processes,
        [KEY_DURATION] = read_duration,   [KEY_SIZE] = read_size,
        [KEY_MODE] = read_mode,           [KEY_SHARE] = read_share,
        [KEY_BOOL] = read_bool,           [KEY_LOG] = read_log,
        [KEY_SHAPE] = read_shape,         [KEY_PARAM_TYPE] = read_param_type,
        [KEY_UNKNOWN] = read_unknown,     [KEY_TEXT] = read_text,
        [KEY_NAME] = read_name,           [KEY_VARIABLE] = read_variable,
        [KEY_PREFIX] = read_prefix,       [KEY_DIRECTORY] = read_directory,
        [KEY_ADDRESS] = read_address,     [KEY_MOUNT] = read_mount,
        [KEY_URL_PATH] = read_url_path,   [KEY_LIST] = read_list,
        [KEY_ADDRESSES] = read_addresses, [KEY_POOLER] = read_pooler,
        [KEY_GROUP] = read_group,         [KEY_RATE] = read_rate,
        [KEY_CODING] = read_coding,
    };

    return readers[r->key->type](r);
}

/* A default as if it stood in the file. */
static struct config_entry default_entry(const struct config_build *build,
                                         const struct config_key *key)
{
    struct config_entry entry = {.name = key->name, .place = {build->config->file, 0}};
    const char *rest = key->default_text;
    size_t commas = 0;

    for (const char *c = rest; config_key_is_list(key) && *c != '\0'; c++)
        commas += *c == ',';
    entry.texts = mem_check(talloc_zero_array(build->config, const char *, commas + 2));
    for (; entry.n_texts < commas; rest += strcspn(rest, ",") + 1)
        entry.texts[entry.n_texts++] =
            mem_check(talloc_strndup(entry.texts, rest, strcspn(rest, ",")));
    entry.texts[entry.n_texts++] = rest;
    return entry;
}

int config_read_keys(const struct config_build *build, const char *kind,
                     const struct config_block *block, void *base)
{
    for (const struct config_key *key = keys; key < keys + sizeof(keys) / sizeof(keys[0]); key++) {
        const struct config_entry *entry = config_block_find(block, key->name);
        struct config_entry fallback;

        if (strcmp(key->block, kind) != 0)
            continue;
        if (entry == NULL && key->default_text == NULL)
            continue;
        if (entry == NULL) {
            fallback = default_entry(build, key);
            entry = &fallback;
        }
        struct reading r = {build, key, entry, entry->texts[0], (char *)base + key->offset};
        if (read_value(&r) == -1)
            return -1;
    }
    return 0;
}
