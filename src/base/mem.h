/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens when memory runs out: the process says so and aborts. Workers
   and refreshers are replaced by their supervisor, which itself allocates only
   while it starts or reloads. */
#ifndef LEEWAY_BASE_MEM_H
#define LEEWAY_BASE_MEM_H

#include <stddef.h>

/* Returns `pointer`, never NULL. Wrap every talloc call in it. */
void *mem_check(void *pointer);

enum { MEM_KEPT_AT_MOST = 32 * 1024 * 1024 };

/* From now on the C library keeps `bytes` of freed memory, at least what it keeps anyway and at
   most MEM_KEPT_AT_MOST, instead of giving it back to the kernel, which would have to be asked for
   every page of it again for the next large response. */
void mem_keep(size_t bytes);

/* Calls work(data) such that what it allocates lies apart from everything else, and returns when
   it does. For what leaves much free memory in small pieces behind: later allocations would be
   put into these, slowly, and each page that a child process writes to becomes its own. */
void mem_apart(void (*work)(void *data), void *data);

#endif
