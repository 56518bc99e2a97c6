/* SPDX-License-Identifier: BSD-2-Clause */
/* Which machine this is. */
#ifndef LEEWAY_BASE_MACHINE_H
#define LEEWAY_BASE_MACHINE_H

enum { MACHINE_ID_BYTES = 64 };

/* The machine-id (machine-id(5)) of this machine, or where it has none, the id of its present boot;
   "" if neither can be read. NUL-terminated. */
void machine_id(char out[MACHINE_ID_BYTES]);

#endif
