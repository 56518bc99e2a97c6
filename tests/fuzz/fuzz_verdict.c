/* SPDX-License-Identifier: BSD-2-Clause */
/* What is read of a server's messages: a message for a client is a bounded beginning of what was
   said, in whole characters; a refusal only ever becomes shorter. */
#include "config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "source/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_message(const char *text, size_t len)
{
    char shown[VERDICT_MESSAGE_BYTES + 1];

    verdict_message(text, shown);
    size_t shown_len = strlen(shown);
    must(shown_len <= len && memcmp(shown, text, shown_len) == 0);
    must(utf8_length(shown, shown_len) != -1);
    /* nothing, or all but what did not fit */
    must(shown_len == 0 || shown_len == len || shown_len > VERDICT_MESSAGE_BYTES - 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    size_t len = strlen(text);
    check_message(text, len);
    must(verdict_parameter(text) <= UINT16_MAX);
    verdict_take_refusal(text);
    must(strlen(text) <= len);
    free(text);
    return 0;
}
