/* SPDX-License-Identifier: BSD-2-Clause */
/* Core dumps, and debuggers of other users' processes, are kept from a process that holds a
   password (PR_SET_DUMPABLE, prctl(2)). Inherited by fork; exec ends it. */
#ifndef LEEWAY_BASE_CORE_DUMP_H
#define LEEWAY_BASE_CORE_DUMP_H

/* Before a password is read. Nothing is written to disk if the process crashes from now on. */
void core_dump_forbid(void);

/* As it was before the first core_dump_forbid(): there turned out to be no password. */
void core_dump_allow(void);

#endif
