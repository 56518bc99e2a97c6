/* SPDX-License-Identifier: BSD-2-Clause */
/* Ends the process when memory has run out. */
#include "config.h"

#include "base/mem.h"

#include <stdlib.h>

#include "base/log.h"

void *mem_check(void *pointer)
{
    if (pointer == NULL) {
        log_event(LOG_LEVEL_ERROR, "out of memory", log_text("action", "abort"));
        abort();
    }
    return pointer;
}
