/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection string: what libpq refuses is refused, with a reason that was found by our own rules
   and that holds none of it but a keyword. */
#include "config.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#include "base/mem.h"
#include "source/conninfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* Characters of no sentence and no keyword can only come from the input. */
static void check_error(const char *error)
{
    must(error[0] != '\0' && strlen(error) < 255);
    must(strcmp(error, "it is malformed") != 0);
    for (; *error != '\0'; error++)
        must((unsigned char)*error >= ' ' && (unsigned char)*error < 0x7f &&
             strchr("!~^`$", *error) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *conninfo = mem_check(talloc_strndup(NULL, (const char *)data, size));
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    char error[256] = "";
    bool has_password = false;
    int rc = conninfo_check(conninfo, &has_password, error, sizeof error);

    must(rc == 0 ? options != NULL && error[0] == '\0' : rc == -1);
    if (rc == -1)
        check_error(error);
    must(conninfo_leads_to_password(conninfo) || !has_password);
    PQconninfoFree(options);
    talloc_free(conninfo);
    return 0;
}
