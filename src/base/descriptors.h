/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors 0, 1 and 2, which a program may be started without. */
#ifndef LEEWAY_BASE_DESCRIPTORS_H
#define LEEWAY_BASE_DESCRIPTORS_H

/* Opens /dev/null at each of the three that is not open, such that reading 0 and writing 1 and 2
   go on failing. Otherwise the next file or socket would get that number, and a log line would be
   written to it. To be called before anything else is opened; ends the process with status 1 if
   it cannot. */
void descriptors_fill(void);

#endif
