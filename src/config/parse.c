/* SPDX-License-Identifier: BSD-2-Clause */
/* libConfuse and nothing but libConfuse: every key is an option whose callback
   copies text and place into the tree, so that values are typed elsewhere. */
#include "config.h"

#include "config/parse.h"

#include <confuse.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "config/keys.h"
#include "config/scan.h"

enum { MAX_OPEN = 10 };

/* A file that is being parsed. */
struct parsing {
    TALLOC_CTX *ctx;
    TALLOC_CTX *error_ctx;
    struct config_error *error;
    const char *file;
    struct config_scan scan;
    size_t next_key; /* into scan.key_lines */
    size_t next_block;
    struct {
        const cfg_t *section;
        struct config_block *block;
    } open[MAX_OPEN];
    size_t n_open;
};

/* libConfuse gives its callbacks no pointer of the caller's. */
static struct parsing *parsing;

static int fail_here(const cfg_t *cfg, const char *sentence)
{
    return config_fail(parsing->error_ctx, parsing->error,
                       (struct config_place){parsing->file, cfg->line}, "%s", sentence);
}

static const char *known_names(TALLOC_CTX *ctx, const cfg_t *cfg)
{
    char *names = mem_check(talloc_strdup(ctx, ""));

    for (const cfg_opt_t *opt = cfg->opts; opt->name != NULL; opt++)
        if (opt->name[0] != '\0')
            names = mem_check(
                talloc_asprintf_append(names, "%s%s", names[0] != '\0' ? ", " : "", opt->name));
    return names;
}

/* The key whose value ends on `line`, if that is a secret: what follows may be the rest of it. */
static const char *secret_before(const struct config_block *block, int line)
{
    static const char *const secrets[] = {"password", "conninfo"};

    if (block->n_entries == 0)
        return NULL;
    const struct config_entry *last = &block->entries[block->n_entries - 1];
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
        if (last->place.line == line && strcmp(last->name, secrets[i]) == 0)
            return secrets[i];
    return NULL;
}

__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *cfg, const char *format,
                                                           va_list args)
{
    char text[512];

    if (parsing->error->text != NULL)
        return;
    vsnprintf(text, sizeof(text), format, args);
    if (strncmp(format, "no such option", strlen("no such option")) != 0) {
        fail_here(cfg, text);
        return;
    }
    struct config_place place = {parsing->file, cfg->line};
    const char *secret = secret_before(parsing->open[parsing->n_open - 1].block, cfg->line);
    if (secret != NULL) {
        config_fail(parsing->error_ctx, parsing->error, place,
                    "unknown key behind the value of %s; a value with spaces or special "
                    "characters must stand in quotes",
                    secret);
        return;
    }
    const char *name = strchr(text, '\'');
    const char *names = known_names(parsing->error_ctx, cfg);
    config_fail(parsing->error_ctx, parsing->error, place, "unknown key %s; there are: %s",
                name != NULL ? name : "", names);
}

static struct config_block *add_block(struct parsing *p, struct config_block *parent,
                                      const char *kind, const char *title, int fallback_line)
{
    struct config_block *block = mem_check(talloc_zero(p->ctx, struct config_block));
    int line = fallback_line;

    if (p->next_block < p->scan.n_blocks)
        line = p->scan.block_lines[p->next_block++];
    block->kind = mem_check(talloc_strdup(block, kind));
    if (title != NULL)
        block->title = mem_check(talloc_strdup(block, title));
    block->place = (struct config_place){p->file, line};
    config_block_add(parent, block);
    return block;
}

/* The parser of a hidden option's default, which libConfuse calls when it makes
   a section: nothing else tells where one begins. It aborts the process if this
   fails, so a mistake is only noted here. */
static int on_open(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    struct parsing *p = parsing;

    (void)opt;
    (void)value;
    *(void **)result = NULL;
    if (p->n_open == MAX_OPEN || p->open[p->n_open - 1].section == cfg) {
        fail_here(cfg, "this block cannot be parsed");
        return 0;
    }
    p->open[p->n_open].block =
        add_block(p, p->open[p->n_open - 1].block, cfg->name, cfg->title, cfg->line);
    p->open[p->n_open].section = cfg;
    if (cfg->title != NULL && utf8_length(cfg->title, strlen(cfg->title)) == -1)
        config_fail(p->error_ctx, p->error, p->open[p->n_open].block->place,
                    "the title of this block is not UTF-8");
    p->n_open++;
    return 0;
}

static int on_close(cfg_t *cfg, cfg_opt_t *opt)
{
    (void)cfg;
    (void)opt;
    parsing->n_open--;
    return parsing->error->text == NULL ? 0 : -1;
}

static void add_text(struct config_block *block, struct config_entry *entry, const char *text)
{
    entry->texts = mem_check(talloc_realloc(block, entry->texts, const char *, entry->n_texts + 2));
    entry->texts[entry->n_texts++] = mem_check(talloc_strdup(block, text));
    entry->texts[entry->n_texts] = NULL;
}

static int add_value(struct parsing *p, const cfg_t *cfg, struct config_block *block,
                     const char *name, const char *text)
{
    int line = p->next_key < p->scan.n_keys ? p->scan.key_lines[p->next_key++] : cfg->line;
    struct config_entry entry = {
        .name = mem_check(talloc_strdup(block, name)),
        .place = {p->file, line},
    };

    add_text(block, &entry, text);
    if (utf8_length(text, strlen(text)) == -1)
        return config_fail(p->error_ctx, p->error, entry.place, "the value of %s is not UTF-8",
                           name);
    return config_block_add_entry(block, &entry, p->error_ctx, p->error);
}

/* Keys outside of blocks are gathered in blocks of kind "", which keeps their
   place among the includes. */
static struct config_block *block_for_value(struct parsing *p)
{
    struct config_block *block = p->open[p->n_open - 1].block;

    if (p->n_open > 1)
        return block;
    if (block->n_blocks > 0 && block->blocks[block->n_blocks - 1]->kind[0] == '\0')
        return block->blocks[block->n_blocks - 1];

    struct config_block *loose = mem_check(talloc_zero(p->ctx, struct config_block));
    loose->kind = "";
    loose->place = block->place;
    config_block_add(block, loose);
    return loose;
}

/* libConfuse takes "redis|address" outside of the block for the key inside. */
static bool has_option(const cfg_t *cfg, const cfg_opt_t *opt)
{
    for (const cfg_opt_t *own = cfg->opts; own->name != NULL; own++)
        if (own == opt)
            return true;
    return false;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    struct parsing *p = parsing;
    struct config_block *block = block_for_value(p);

    *(void **)result = NULL;
    if (p->error->text != NULL)
        return -1;
    if (!has_option(cfg, opt))
        return fail_here(cfg, "a key must stand inside of its block");
    if ((opt->flags & CFGF_LIST) == 0 || opt->nvalues <= 1)
        return add_value(p, cfg, block, opt->name, value);
    if (utf8_length(value, strlen(value)) == -1)
        return fail_here(cfg, "a value of this list is not UTF-8");
    add_text(block, &block->entries[block->n_entries - 1], value);
    return 0;
}

/* Recorded only: a parse within a parse leaks libConfuse's buffers. */
static int on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
    (void)opt;
    if (argc != 1 || argv[0][0] == '\0')
        return fail_here(cfg, "include takes one file name: include(\"routes.d/*.conf\")");
    add_block(parsing, parsing->open[0].block, "include", argv[0], cfg->line);
    return 0;
}

/* Options for all keys of a block, with room for `more` and the end. libConfuse
   copies them. */
static cfg_opt_t *options(TALLOC_CTX *ctx, const char *block, size_t more, size_t *used)
{
    static char opened[] = "opened"; /* any value */
    size_t count;
    const struct config_key *keys = config_keys(&count);
    cfg_opt_t *opts = mem_check(talloc_zero_array(ctx, cfg_opt_t, count + more + 2));

    *used = 0;
    if (block[0] != '\0')
        opts[(*used)++] = (cfg_opt_t)CFG_PTR_CB("", opened, CFGF_NONE, on_open, NULL);
    for (size_t i = 0; i < count; i++) {
        cfg_flag_t flags = config_key_is_list(&keys[i]) ? CFGF_LIST : CFGF_NONE;
        if (strcmp(keys[i].block, block) == 0)
            opts[(*used)++] = (cfg_opt_t)CFG_PTR_CB(keys[i].name, NULL, flags, on_value, NULL);
    }
    return opts;
}

static cfg_opt_t section(const char *name, cfg_opt_t *opts, cfg_flag_t flags)
{
    cfg_opt_t opt = CFG_SEC(name, opts, flags | CFGF_MULTI);

    opt.validcb = on_close;
    return opt;
}

static cfg_t *new_parser(TALLOC_CTX *ctx)
{
    size_t root_used, route_used, used;
    cfg_opt_t *root = options(ctx, "", 5, &root_used);
    cfg_opt_t *route = options(ctx, "route", 1, &route_used);

    route[route_used] = section("param", options(ctx, "param", 0, &used), CFGF_TITLE);
    root[root_used++] = section("redis", options(ctx, "redis", 0, &used), CFGF_NONE);
    root[root_used++] = section("postgres", options(ctx, "postgres", 0, &used), CFGF_NONE);
    root[root_used++] = section("context", options(ctx, "context", 0, &used), CFGF_TITLE);
    root[root_used++] = section("route", route, CFGF_TITLE);
    root[root_used] = (cfg_opt_t)CFG_FUNC("include", on_include);
    return mem_check(cfg_init(root, CFGF_NONE));
}

static int parse_text(struct parsing *p, char *text, size_t len)
{
    TALLOC_CTX *scratch = mem_check(talloc_new(p->ctx));
    cfg_t *cfg = new_parser(scratch);
    FILE *stream = mem_check(fmemopen(text, len, "r"));

    cfg_set_error_function(cfg, on_error);
    cfg->filename = mem_check(strdup(p->file));
    p->open[0].section = cfg;
    parsing = p;
    int rc = cfg_parse_fp(cfg, stream);
    /* only a name that is an empty environment variable fails without a word */
    if (rc != CFG_SUCCESS && p->error->text == NULL)
        fail_here(cfg, "a key or block that begins here cannot be read: a name is empty");
    parsing = NULL;
    fclose(stream);
    cfg_free(cfg);
    talloc_free(scratch);
    return rc == CFG_SUCCESS ? 0 : -1;
}

struct config_block *config_parse(TALLOC_CTX *ctx, TALLOC_CTX *error_ctx, const char *file,
                                  char *text, size_t len, struct config_error *error)
{
    struct config_block *root = mem_check(talloc_zero(ctx, struct config_block));
    struct parsing p = {
        .ctx = root,
        .error_ctx = error_ctx,
        .error = error,
        .file = file,
        .open = {{NULL, root}},
        .n_open = 1,
    };
    int rc = config_scan(root, error_ctx, file, text, len, &p.scan, error);

    root->kind = "";
    root->place = (struct config_place){file, 0};
    if (rc == 0 && len > 0)
        rc = parse_text(&p, text, len);
    if (rc == 0)
        return root;
    talloc_free(root);
    return NULL;
}
