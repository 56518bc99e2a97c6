/* SPDX-License-Identifier: BSD-2-Clause */
/* `password_file` of the redis and postgres blocks: read with the configuration, thus anew with
   every reload. */
#include "config.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "config/build.h"
#include "config/file.h"

enum { MAX_PASSWORD_FILE = 64 * 1024 };

/* The first line of the file, or NULL and the error is reported, without a word of the file's. */
static const char *read_password(const struct config_build *build, const struct config_entry *entry)
{
    const char *path = config_file_beside(build->config, entry->place.file, entry->texts[0]);
    const char *problem;
    bool open_to_others;
    size_t len;
    char *text = config_file_read_secret(build->config, path, MAX_PASSWORD_FILE, &len,
                                         &open_to_others, &problem);

    if (text == NULL) {
        config_build_fail(build, entry->place, "password_file: %s %s", path, problem);
        return NULL;
    }
    size_t line = strcspn(text, "\r\n");
    bool whole = line == len || text[line] != '\0';
    memset(text + line, 0, len - line);
    if (!whole || utf8_length(text, line) == -1)
        problem = "is not UTF-8 text";
    else if (line == 0)
        problem = "is empty; its first line is the password";
    if (problem != NULL) {
        config_build_fail(build, entry->place, "password_file: %s %s", path, problem);
        return NULL;
    }
    if (open_to_others)
        config_build_warn(build, entry->place, "password_file: %s can be read by everybody", path);
    return text;
}

static bool is_given(const struct config_entry *entry)
{
    return entry != NULL && entry->texts[0][0] != '\0';
}

int config_build_passwords(const struct config_build *build, const struct config_block *redis,
                           const struct config_block *postgres)
{
    const struct config_entry *plain = config_block_find(redis, "password");
    const struct config_entry *file = config_block_find(redis, "password_file");
    struct settings *settings = &build->config->settings;

    if (is_given(plain) && is_given(file))
        return config_build_fail(build, file->place,
                                 "password and password_file exclude each other; remove one");
    if (is_given(file) && (settings->redis.password = read_password(build, file)) == NULL)
        return -1;
    file = config_block_find(postgres, "password_file");
    if (is_given(file) && (settings->postgres.password = read_password(build, file)) == NULL)
        return -1;
    return 0;
}
