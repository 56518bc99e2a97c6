/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of a name and a value. */
#include "config.h"

#include "app/identity_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/runtime_dir.h"
#include "http/uri.h"

#define FIRST_LINE "leeway-identity 1\n"
#define FILE_NAME  "identity."
enum { MAX_BYTES = 64 * 1024, MODE = 0660 };

static void put(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s ", name);
    uri_encode(out, value, strlen(value));
    buf_append_char(out, '\n');
}

char *identity_record_encode(TALLOC_CTX *ctx, const struct identity_record *record)
{
    char number[24];
    struct buf out;

    buf_init(&out, ctx, 512);
    buf_append_str(&out, FIRST_LINE);
    put(&out, "identity", record->identity);
    put(&out, "configuration", record->configuration);
    put(&out, "system", record->known.system);
    put(&out, "oid", record->known.database);
    snprintf(number, sizeof number, "%" PRId64, record->known.accepts);
    put(&out, "accepts", number);
    snprintf(number, sizeof number, "%016" PRIx64, record->session);
    put(&out, "session", number);
    put(&out, "hosts", record->destination.hosts);
    put(&out, "database", record->destination.database);
    put(&out, "user", record->destination.user);
    put(&out, "options", record->destination.options);
    return out.data;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *found = c != '\0' ? strchr(digits, c) : NULL;

    return found != NULL ? (int)(found - digits) : -1;
}

/* As put() has encoded it: bytes of whatever encoding, for the names of a database are. NULL: it is
   broken, or has a NUL. */
static char *decode(TALLOC_CTX *ctx, struct slice raw)
{
    char *value = mem_check(talloc_array(ctx, char, (unsigned)raw.len + 1));
    size_t len = 0;

    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.data[i];
        if (c == '%') {
            int high = i + 2 < raw.len ? hex_digit(raw.data[i + 1]) : -1;
            int low = high != -1 ? hex_digit(raw.data[i + 2]) : -1;
            c = low != -1 ? (char)(16 * high + low) : '\0';
            i += 2;
        }
        if (c == '\0') {
            talloc_free(value);
            return NULL;
        }
        value[len++] = c;
    }
    value[len] = '\0';
    return value;
}

/* The value of the next line, which has to be `name`'s; NULL: it is not. */
static const char *take(TALLOC_CTX *ctx, const char **text, const char *name)
{
    size_t name_len = strlen(name), len = strcspn(*text, "\n");
    const char *line = *text;

    if (line[len] != '\n' || len <= name_len || strncmp(line, name, name_len) != 0 ||
        line[name_len] != ' ')
        return NULL;
    *text += len + 1;
    const struct slice raw = {line + name_len + 1, len - name_len - 1};
    return decode(ctx, raw);
}

static int take_hex(TALLOC_CTX *ctx, const char **text, const char *name,
                    char out[DESTINATION_HEX + 1])
{
    const char *value = take(ctx, text, name);

    if (value == NULL || strlen(value) != DESTINATION_HEX ||
        value[strspn(value, "0123456789abcdef")] != '\0')
        return -1;
    strcpy(out, value);
    return 0;
}

static int take_known(TALLOC_CTX *ctx, const char **text, struct identity_note *known)
{
    const char *system = take(ctx, text, "system");
    const char *database = system != NULL ? take(ctx, text, "oid") : NULL;
    const char *accepts = database != NULL ? take(ctx, text, "accepts") : NULL;

    return accepts != NULL ? identity_note_set(known, system, database, accepts) : -1;
}

static int take_destination(TALLOC_CTX *ctx, const char **text, struct destination *destination)
{
    const struct {
        const char *name;
        const char **place;
    } fields[] = {
        {"hosts", &destination->hosts},
        {"database", &destination->database},
        {"user", &destination->user},
        {"options", &destination->options},
    };

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if ((*fields[i].place = take(ctx, text, fields[i].name)) == NULL)
            return -1;
    return **text == '\0' ? 0 : -1;
}

int identity_record_decode(TALLOC_CTX *ctx, const char *text, struct identity_record *record)
{
    char session[DESTINATION_HEX + 1];

    if (strncmp(text, FIRST_LINE, strlen(FIRST_LINE)) != 0)
        return -1;
    text += strlen(FIRST_LINE);
    if (take_hex(ctx, &text, "identity", record->identity) == -1 ||
        take_hex(ctx, &text, "configuration", record->configuration) == -1 ||
        take_known(ctx, &text, &record->known) == -1 ||
        take_hex(ctx, &text, "session", session) == -1)
        return -1;
    record->session = strtoull(session, NULL, 16);
    return take_destination(ctx, &text, &record->destination);
}

int identity_file_write(const char *directory, const struct identity_record *record)
{
    TALLOC_CTX *ctx = mem_check(talloc_new(NULL));
    char *name = mem_check(talloc_asprintf(ctx, FILE_NAME "%s", record->identity));
    int result = runtime_file_replace(directory, name, identity_record_encode(ctx, record), MODE);
    int problem = errno;

    talloc_free(ctx);
    errno = problem;
    return result;
}

void identity_file_remove(const char *directory, const struct identity_record *record)
{
    char *path =
        mem_check(talloc_asprintf(NULL, "%s/" FILE_NAME "%s", directory, record->identity));

    unlink(path);
    talloc_free(path);
}

static int open_file(const char *directory, const char *identity)
{
    char *name = mem_check(talloc_asprintf(NULL, FILE_NAME "%s", identity));
    char error[256];
    int fd = runtime_file_open(directory, name, O_RDONLY, 0, error, sizeof error);

    talloc_free(name);
    return fd;
}

bool identity_file_exists(const char *directory, const char *identity)
{
    int fd = open_file(directory, identity);

    if (fd == -1)
        return errno == EACCES;
    close(fd);
    return true;
}

/* NULL: it is not there, not to be trusted, or too long to be one of ours. */
static char *read_all(TALLOC_CTX *ctx, const char *directory, const char *identity)
{
    int fd = open_file(directory, identity);

    if (fd == -1)
        return NULL;
    char *text = mem_check(talloc_zero_array(ctx, char, MAX_BYTES));
    if (read(fd, text, MAX_BYTES - 1) <= 0)
        TALLOC_FREE(text);
    close(fd);
    return text;
}

int identity_file_read(TALLOC_CTX *ctx, const char *directory, const char *identity,
                       struct identity_record *record)
{
    char *text = read_all(ctx, directory, identity);
    bool understood = text != NULL && identity_record_decode(ctx, text, record) == 0 &&
                      strcmp(record->identity, identity) == 0;

    talloc_free(text);
    return understood ? 1 : 0;
}

size_t identity_file_find(TALLOC_CTX *ctx, const char *directory, const char *configuration,
                          struct identity_record **records)
{
    DIR *listing = opendir(directory);
    const struct dirent *entry;
    struct identity_record record;
    size_t count = 0;

    *records = NULL;
    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        if (strncmp(entry->d_name, FILE_NAME, strlen(FILE_NAME)) != 0 ||
            identity_file_read(ctx, directory, entry->d_name + strlen(FILE_NAME), &record) == 0 ||
            strcmp(record.configuration, configuration) != 0)
            continue;
        *records =
            mem_check(talloc_realloc(ctx, *records, struct identity_record, (unsigned)count + 1));
        (*records)[count++] = record;
    }
    if (listing != NULL)
        closedir(listing);
    return count;
}

char *identity_file_obstacle(TALLOC_CTX *ctx, const char *directory)
{
    DIR *listing = opendir(directory);
    const struct dirent *entry;
    char *found = NULL;

    if (listing == NULL && errno != ENOENT)
        return mem_check(
            talloc_asprintf(ctx, "cannot read directory %s: %s", directory, strerror(errno)));
    while (listing != NULL && found == NULL && (entry = readdir(listing)) != NULL)
        if (strncmp(entry->d_name, FILE_NAME, strlen(FILE_NAME)) == 0 &&
            faccessat(dirfd(listing), entry->d_name, R_OK, AT_EACCESS) == -1 && errno == EACCES)
            found = mem_check(talloc_asprintf(ctx, "cannot read %s/%s: %s", directory,
                                              entry->d_name, strerror(errno)));
    if (listing != NULL)
        closedir(listing);
    return found;
}
