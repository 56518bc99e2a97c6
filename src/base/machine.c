/* SPDX-License-Identifier: BSD-2-Clause */
/* Two files that hold nothing but an id. */
#include "config.h"

#include "base/machine.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define ID_CHARACTERS "0123456789abcdef-"

/* An image that many machines are made from has an empty file, or one that says "uninitialized". */
static int read_id(const char *path, char out[MACHINE_ID_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd != -1 ? read(fd, out, MACHINE_ID_BYTES - 1) : -1;

    if (fd != -1)
        close(fd);
    out[len > 0 ? len : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return out[0] != '\0' && out[strspn(out, ID_CHARACTERS)] == '\0' ? 0 : -1;
}

void machine_id(char out[MACHINE_ID_BYTES])
{
    if (read_id("/etc/machine-id", out) == -1 &&
        read_id("/proc/sys/kernel/random/boot_id", out) == -1)
        out[0] = '\0';
}
