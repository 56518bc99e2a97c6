/* SPDX-License-Identifier: BSD-2-Clause */
/* What this host has verified, kept in runtime_dir for processes that start while Postgres is away,
   and for the operator's tool: a file "identity.IDENTITY". */
#ifndef LEEWAY_APP_IDENTITY_FILE_H
#define LEEWAY_APP_IDENTITY_FILE_H

#include "cache/identity_note.h"
#include "source/destination.h"

enum { CONFIGURATION_HEX = 16 };

struct identity_record {
    char identity[DESTINATION_HEX + 1];
    char configuration[CONFIGURATION_HEX + 1]; /* a hash of the settings as they are written */
    struct identity_note known;
    uint64_t session; /* a hash of current user and search_path */
    struct destination destination;
};

/* Lines of "name value", the values percent-encoded. A child of `ctx`. */
char *identity_record_encode(TALLOC_CTX *ctx, const struct identity_record *record);

/* 0, or -1: it is not one. Texts are children of `ctx`. */
int identity_record_decode(TALLOC_CTX *ctx, const char *text, struct identity_record *record)
    __attribute__((warn_unused_result));

/* Replaces the file in one step. -1 and errno. */
int identity_file_write(const char *directory, const struct identity_record *record)
    __attribute__((warn_unused_result));

/* Removes the record's file, if there is one. */
void identity_file_remove(const char *directory, const struct identity_record *record);

/* Whether there is a file of that name that may be used, whatever is in it. One that this process
   may not read is another's, for whom it is. */
bool identity_file_exists(const char *directory, const char *identity);

/* 1 and *record, 0: there is no file, or none that can be understood or may be used. */
int identity_file_read(TALLOC_CTX *ctx, const char *directory, const char *identity,
                       struct identity_record *record) __attribute__((warn_unused_result));

/* All that were written with this configuration, by whatever user and environment: how many. */
size_t identity_file_find(TALLOC_CTX *ctx, const char *directory, const char *configuration,
                          struct identity_record **records);

/* What hides files from this process: a sentence, a child of `ctx`; NULL: nothing does. */
char *identity_file_obstacle(TALLOC_CTX *ctx, const char *directory);

#endif
