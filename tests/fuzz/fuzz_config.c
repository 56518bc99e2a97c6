/* SPDX-License-Identifier: BSD-2-Clause */
/* The input is a configuration file: it is refused with its place, or keeps every promise of
   config/model.h. Either way nothing is left behind, in memory or in libConfuse's lexer.
   The file is memory with a name in a directory of its own, where include() and sql_file find
   two more; the linker (see Makefile.am) sends open(2) and glob(3) through this file, so that
   no input gets at anything else. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/utf8.h"
#include "config/keys.h"
#include "config/load.h"
#include "config/pattern.h"
#include "config/sql.h"
#include "route/param.h"
#include "route/table.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *found);
int __wrap_glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *found);

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"

static const int64_t max_budget_ms = INT64_C(30) * 86400 * 1000;

static const char part[] = "# reached by include(\"part.conf\") and include(\"*.conf\")\n"
                           "slow_query = 2s\n"
                           "context \"part\" { budget = 30s }\n"
                           "route \"/part\" { context = \"part\" sql = \"select 1\" }\n";
static const char query[] = "select $1; -- of sql_file = \"query.sql\"\n";
static const char good[] = "workers = 3\nroute \"/a\" { sql = \"select 1\" }\n";

static int main_fd;
static char dir[256];
static char main_file[300], part_file[300], query_file[300];

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

/* NULL: not in the directory. */
static const char *below_dir(const char *path)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && path[len] == '/' ? path + len : NULL;
}

int __wrap_open(const char *path, int flags, ...)
{
    const char *below = below_dir(path);

    if (below == NULL || strstr(below, "/..") != NULL) {
        errno = ENOENT;
        return -1;
    }
    return __real_open(path, flags);
}

int __wrap_glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *found)
{
    const char *below = below_dir(pattern);

    /* ".*" matches "..", and a backslash hides a point */
    if (below == NULL || strstr(below, "/.") != NULL || strchr(below, '\\') != NULL)
        return GLOB_NOMATCH;
    return __real_glob(pattern, flags, on_error, found);
}

static void write_file(const char *path, const void *bytes, size_t len)
{
    FILE *stream = fopen(path, "w");

    must(stream != NULL && fwrite(bytes, 1, len, stream) == len && fclose(stream) == 0, path);
}

static void write_main(const void *bytes, size_t len)
{
    must(ftruncate(main_fd, 0) == 0 && pwrite(main_fd, bytes, len, 0) == (ssize_t)len, main_file);
}

static void name_main(void)
{
    char name[64];

    main_fd = memfd_create("leeway.conf", MFD_CLOEXEC);
    snprintf(name, sizeof name, "/proc/self/fd/%d", main_fd);
    must(main_fd != -1 && symlink(name, main_file) == 0, main_file);
}

static void clean_up(void)
{
    talloc_disable_null_tracking();
    unlink(main_file);
    unlink(part_file);
    unlink(query_file);
    rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *tmp = getenv("TMPDIR");

    (void)argc;
    (void)argv;
    snprintf(dir, sizeof dir, "%s/leeway-fuzz-XXXXXX", tmp != NULL ? tmp : "/tmp");
    must(mkdtemp(dir) != NULL, dir);
    atexit(clean_up);
    snprintf(main_file, sizeof main_file, "%s/leeway.conf", dir);
    snprintf(part_file, sizeof part_file, "%s/part.conf", dir);
    snprintf(query_file, sizeof query_file, "%s/query.sql", dir);
    name_main();
    write_file(part_file, part, sizeof part - 1);
    write_file(query_file, query, sizeof query - 1);
    setenv("LEEWAY_TEXT", "/from/the/\"environment\"\n", 1);
    setenv("LEEWAY_EMPTY", "", 1);
    unsetenv("LEEWAY_UNSET");
    talloc_enable_null_tracking();
    return 0;
}

static int count_lines(const char *bytes, size_t len)
{
    int lines = 1;

    for (size_t i = 0; i < len; i++)
        lines += bytes[i] == '\n';
    return lines;
}

/* FILE:LINE names a line that there is; 0 is for a file that cannot be read, and this one can. */
static void check_error(const struct config_error *error, const char *data, size_t size)
{
    must(error->file != NULL && error->text != NULL, "an error has a file and a text");
    const char *name = strrchr(error->file, '/');
    int lines = 0;

    if (below_dir(error->file) != NULL && strcmp(name, "/leeway.conf") == 0)
        lines = count_lines(data, size);
    else if (below_dir(error->file) != NULL && strcmp(name, "/part.conf") == 0)
        lines = count_lines(part, sizeof part - 1);
    size_t len = strlen(error->text);
    bool sentence = len > 0 && error->text[len - 1] != '.' && error->text[len - 1] != '\n';
    if (error->line >= 1 && error->line <= lines && sentence)
        return;
    fprintf(stderr, "%s:%d: %s\n", error->file, error->line, error->text);
    must(false, "an error names a line of its file and says what is wrong");
}

static void check_text(const char *text)
{
    must(text != NULL && utf8_length(text, strlen(text)) != -1, "a text is UTF-8");
}

static bool parse_number(const struct config_key *key, const char *text, int64_t *value)
{
    switch (key->type) {
    case KEY_COUNT:
    case KEY_PROCESSES:
        return num_parse_i64(text, strlen(text), value);
    case KEY_DURATION:
        return num_parse_duration_ms(text, value);
    case KEY_SIZE:
        return num_parse_size(text, value);
    case KEY_MODE:
        *value = strtol(text, NULL, 8);
        return true;
    default:
        return false;
    }
}

/* By settings.def, whose bounds the reader of values has looked at too. */
static void check_ranges(const struct settings *settings)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);

    for (const struct config_key *key = keys; key < keys + count; key++) {
        static const char *const others[] = {"context", "route", "param"};
        int64_t value, min, max;
        bool other = false;
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            other = other || strcmp(key->block, others[i]) == 0;
        if (other || key->min == NULL)
            continue;
        memcpy(&value, (const char *)settings + key->offset, sizeof value);
        must(parse_number(key, key->min, &min) && parse_number(key, key->max, &max), key->name);
        must(value >= min && value <= max, key->name);
    }
}

static void check_rate(const struct rate *rate)
{
    must(rate->a_second >= 0 && rate->a_second <= RATE_MAX, "a rate is in range");
    must((rate->a_second == 0) == (rate->burst == 0), "a rate has a burst");
    must(rate->burst >= 0 && rate->burst <= RATE_MAX, "a burst is in range");
}

static void check_settings(const struct settings *settings)
{
    const char *const texts[] = {
        settings->mount,          settings->runtime_dir,   settings->metrics_path,
        settings->health_path,    settings->redis.address, settings->redis.username,
        settings->redis.password, settings->redis.prefix,  settings->postgres.conninfo,
    };
    size_t mount_len = strlen(settings->mount);

    check_ranges(settings);
    check_rate(&settings->client_misses);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_text(texts[i]);
    must(mount_len == 0 || (settings->mount[0] == '/' && settings->mount[mount_len - 1] != '/'),
         "mount");
    must(settings->runtime_dir[0] == '/', "runtime_dir is absolute");
    must(settings->drain_timeout_ms >= settings->postgres.statement_timeout_ms, "drain_timeout");
    must(settings->postgres.session_lifetime_ms == 0 ||
             settings->postgres.session_lifetime_ms >= 1000,
         "session_lifetime");
    must(settings->metrics_path[0] == '\0' ||
             strcmp(settings->metrics_path, settings->health_path) != 0,
         "metrics_path is not health_path");
    must(settings->metrics_allow != NULL && settings->metrics_allow->count > 0, "metrics_allow");
}

static void check_contexts(const struct config *config)
{
    size_t defaults = 0;

    for (size_t i = 0; i < config->n_contexts; i++) {
        const struct context *context = &config->contexts[i];
        int64_t budget = context->budget_ms;
        check_text(context->name);
        defaults += strcmp(context->name, "default") == 0;
        for (size_t j = 0; j < i; j++)
            must(strcmp(context->name, config->contexts[j].name) != 0,
                 "a context's name is its own");
        must(budget == 0 || (budget >= 1000 && budget <= max_budget_ms), "budget");
        must(context->refresh_after_ms >= 0 && context->refresh_after_ms <= budget, "refresh_at");
        must(context->negative_budget_ms >= 0 && context->negative_budget_ms <= budget,
             "negative_budget");
        must(context->stale_if_error_ms >= 0 && context->stale_if_error_ms <= max_budget_ms &&
                 (budget > 0 || context->stale_if_error_ms == 0),
             "stale_if_error");
    }
    must(defaults == 1, "there is one default context");
}

static void check_param(const struct route *route, const struct param_spec *param)
{
    bool in_path = pattern_has_name(route->pattern, param->name);
    bool numeric = param->type == PARAM_INT || param->type == PARAM_NUMBER;

    check_text(param->name);
    for (const struct param_spec *other = route->params; other < param; other++)
        must(strcmp(param->name, other->name) != 0, "a param's name is its own");
    must(in_path == (param->source == PARAM_FROM_PATH), "what the pattern names is in the path");
    must((param->variable != NULL) == (param->source == PARAM_FROM_VARIABLE), "from");
    must(param->source != PARAM_FROM_VARIABLE || route->private, "a variable makes private");
    must(param->source == PARAM_FROM_QUERY || param->required, "only the query can be absent");
    must(param->default_text == NULL || !param->required, "a default is for the absent");
    must(numeric || (param->min == NULL && param->max == NULL), "bounds are of numbers");
    must((param->values != NULL && param->values[0] != NULL) == (param->type == PARAM_ENUM),
         "values are an enum's");
    must(param->max_length >= 1 && param->max_length <= 65536, "max_length");
}

static void check_route(const struct config *config, size_t index)
{
    const struct route *route = &config->routes[index];
    size_t sql_len = strlen(route->sql);

    check_text(route->pattern);
    check_text(route->sql);
    must(route->index == index, "index");
    must(route->context >= config->contexts &&
             route->context < config->contexts + config->n_contexts,
         "a route has a context");
    must(route->name[0] != '\0' && route->name[strspn(route->name, NAME_CHARACTERS)] == '\0',
         "a route's name");
    must(pattern_problem((void *)(uintptr_t)config, route->pattern) == NULL, "pattern");
    must(sql_len > 0 && strchr(" \t\r\n\f\v;", route->sql[sql_len - 1]) == NULL, "sql is trimmed");
    struct sql_facts facts = sql_inspect(route->sql);
    must(facts.is_query && facts.len == sql_len, "a query and nothing else");
    must(facts.problem == NULL && facts.highest_param <= (int64_t)route->n_params, "sql");
    must(memcmp(facts.uses_param, route->uses_param, sizeof route->uses_param) == 0, "uses_param");
    for (size_t i = 0; i < CONFIG_MAX_PARAMS; i++)
        must(!route->uses_param[i] || (int64_t)i < facts.highest_param, "uses_param");
    must(route->n_params <= CONFIG_MAX_PARAMS, "the number of params");
    for (size_t i = 0; i < route->n_params; i++)
        check_param(route, &route->params[i]);
    for (size_t i = 0; i < index; i++)
        must(strcmp(route->name, config->routes[i].name) != 0, "a route's name is its own");
}

/* A path that the pattern has been made for. */
static struct slice path_for(TALLOC_CTX *ctx, const char *pattern)
{
    struct pattern_segment segment;
    struct buf path;

    buf_init(&path, ctx, 1);
    while (pattern_next(&pattern, &segment)) {
        buf_append_char(&path, '/');
        buf_append(&path, segment.is_name ? "x" : segment.text, segment.is_name ? 1 : segment.len);
    }
    return (struct slice){path.data, path.len};
}

static void check_table(TALLOC_CTX *ctx, const struct config *config, const char *data, size_t size)
{
    struct config_error error = {0};
    const struct route_table *table = route_table_new(ctx, config, &error);
    struct route_match match;

    if (table == NULL) {
        check_error(&error, data, size);
        return;
    }
    for (size_t i = 0; i < config->n_routes; i++) {
        const struct route *route = &config->routes[i];
        must(route_table_by_name(table, route->name) == route, "a route is found by its name");
        must(route_table_find(table, path_for(ctx, route->pattern), &match) == 1,
             "a route's pattern is a path that is found");
        for (size_t j = 0; j < route->n_params; j++) {
            const char *value = route->params[j].default_text;
            must(value == NULL || param_canonical(ctx, &route->params[j], value) != NULL,
                 "a default is a value");
        }
    }
}

static void check_config(TALLOC_CTX *ctx, const struct config *config, const char *data,
                         size_t size)
{
    must(strcmp(config->file, main_file) == 0, "config.file");
    check_settings(&config->settings);
    check_contexts(config);
    for (size_t i = 0; i < config->n_routes; i++)
        check_route(config, i);
    check_table(ctx, config, data, size);
}

static void check_good_one(TALLOC_CTX *ctx)
{
    const struct config *config = NULL;
    struct config_error error;

    write_main(good, sizeof good - 1);
    must(config_load(ctx, main_file, &config, &error) == 0 && config->settings.workers == 3 &&
             config->n_routes == 1,
         "the lexer keeps nothing of the input before");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    const struct config *config = NULL;
    struct config_error error = {0};

    write_main(data, size);
    if (config_load(ctx, main_file, &config, &error) == 0) {
        check_config(ctx, config, (const char *)data, size);
    } else {
        must(config == NULL, "no configuration where there is an error");
        check_error(&error, (const char *)data, size);
    }
    check_good_one(ctx);
    talloc_free(ctx);
    must(talloc_total_blocks(NULL) == 1, "all memory is the caller's context's");
    return 0;
}
