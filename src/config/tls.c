/* SPDX-License-Identifier: BSD-2-Clause */
/* The `tls_` keys of the redis block: which go together, and whether their files can be used. */
#include "config.h"

#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/tls.h"
#include "config/build.h"
#include "config/file.h"

static bool is_given(const struct config_entry *entry)
{
    return entry != NULL && entry->texts[0][0] != '\0';
}

/* A path is relative to the file that it stands in. */
static const char *path_of(const struct config_build *build, const struct config_entry *entry)
{
    return is_given(entry) ? config_file_beside(build->config, entry->place.file, entry->texts[0])
                           : "";
}

static int check_keys(const struct config_build *build, const struct config_block *redis)
{
    static const char *const names[] = {"tls_ca", "tls_cert", "tls_key", "tls_name"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct config_entry *entry = config_block_find(redis, names[i]);
        if (is_given(entry) && strncmp(build->config->settings.redis.address, "tls:", 4) != 0)
            return config_build_fail(build, entry->place, "%s needs an address of tls:HOST:PORT",
                                     names[i]);
    }
    const struct config_entry *cert = config_block_find(redis, "tls_cert");
    const struct config_entry *key = config_block_find(redis, "tls_key");
    if (is_given(cert) && !is_given(key))
        return config_build_fail(build, cert->place, "tls_cert needs a tls_key");
    if (is_given(key) && !is_given(cert))
        return config_build_fail(build, key->place, "tls_key needs a tls_cert");
    return 0;
}

/* Of the key that a problem of tls_context_new() begins with. */
static struct config_place place_of(const struct config_block *redis, const char *problem)
{
    static const char *const names[] = {"tls_ca", "tls_cert", "tls_key"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct config_entry *entry = config_block_find(redis, names[i]);
        if (entry != NULL && strncmp(problem, names[i], strlen(names[i])) == 0)
            return entry->place;
    }
    return config_block_find(redis, "address")->place;
}

/* The path is good: the key has just been read. */
static void warn_of_open_key(const struct config_build *build, const struct config_entry *entry,
                             const char *path)
{
    struct stat about;

    if (is_given(entry) && stat(path, &about) == 0 && (about.st_mode & S_IROTH) != 0)
        config_build_warn(build, entry->place, "tls_key: %s can be read by everybody", path);
}

int config_build_tls(const struct config_build *build, const struct config_block *redis)
{
    struct redis_settings *settings = &build->config->settings.redis;
    char problem[320];

    if (check_keys(build, redis) == -1)
        return -1;
    settings->tls_ca = path_of(build, config_block_find(redis, "tls_ca"));
    settings->tls_cert = path_of(build, config_block_find(redis, "tls_cert"));
    settings->tls_key = path_of(build, config_block_find(redis, "tls_key"));
    if (strncmp(settings->address, "tls:", 4) != 0)
        return 0;
    const struct tls_files files = {settings->tls_ca, settings->tls_cert, settings->tls_key};
    struct tls_context *context = tls_context_new(NULL, &files, problem, sizeof problem);
    if (context == NULL)
        return config_build_fail(build, place_of(redis, problem), "%s", problem);
    talloc_free(context);
    warn_of_open_key(build, config_block_find(redis, "tls_key"), settings->tls_key);
    return 0;
}
