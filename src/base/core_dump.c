/* SPDX-License-Identifier: BSD-2-Clause */
/* A process that was not dumpable to begin with, for whatever reason, stays so. */
#include "config.h"

#include "base/core_dump.h"

#include <sys/prctl.h>

static int dumpable_before = -1;

void core_dump_forbid(void)
{
    if (dumpable_before == -1)
        dumpable_before = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void core_dump_allow(void)
{
    if (dumpable_before == 1)
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}
