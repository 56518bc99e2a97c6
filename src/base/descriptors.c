/* SPDX-License-Identifier: BSD-2-Clause */
/* open(2) takes the lowest number that is free. */
#include "config.h"

#include "base/descriptors.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void descriptors_fill(void)
{
    static const int modes[] = {
        [STDIN_FILENO] = O_WRONLY,
        [STDOUT_FILENO] = O_RDONLY,
        [STDERR_FILENO] = O_RDONLY,
    };

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", modes[fd]) != fd)
            exit(1);
}
