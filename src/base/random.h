/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers that differ from process to process, for jitter and for names. */
#ifndef LEEWAY_BASE_RANDOM_H
#define LEEWAY_BASE_RANDOM_H

#include <stdint.h>

/* Never waits: of the clock where the kernel has none as yet, early at boot. Not for secrets.
   Unlike rand(), children that were forked get others. */
uint64_t random_number(void);

#endif
