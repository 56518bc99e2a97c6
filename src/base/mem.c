/* SPDX-License-Identifier: BSD-2-Clause */
/* Ends the process when memory has run out. */
#include "config.h"

#include "base/mem.h"

#include <limits.h>
#include <malloc.h>
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

void mem_keep(size_t bytes)
{
#ifdef M_TRIM_THRESHOLD
    int threshold = bytes < INT_MAX ? (int)bytes : INT_MAX;

    /* chunks of the second size and more would be mapped one by one; glibc takes up to 32 MiB */
    mallopt(M_TRIM_THRESHOLD, threshold);
    mallopt(M_MMAP_THRESHOLD, threshold < 32 << 20 ? threshold : 32 << 20);
#else
    (void)bytes;
#endif
}
