/* SPDX-License-Identifier: BSD-2-Clause */
/* What a test does to a running process, by LD_PRELOAD: another time of day, and a delay before
   each response is written. The file that SHIM_FILE names holds both, as two 64-bit numbers of
   microseconds, and may be changed while the process runs. What SHIM_MACHINE_ID names is opened
   for /etc/machine-id. System calls are made directly, so that nothing has to be looked up while a
   sanitizer starts. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MILLION = 1000000 };

struct orders {
    volatile int64_t time_of_day_us; /* added to what the clock shows */
    volatile int64_t write_delay_us;
};

static const struct orders *orders(void)
{
    static const struct orders none;
    static const struct orders *mapped;

    if (mapped == NULL) {
        const char *file = getenv("SHIM_FILE");
        int fd = file != NULL ? open(file, O_RDONLY | O_CLOEXEC) : -1;
        void *at = fd != -1 ? mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
        if (fd != -1)
            close(fd);
        mapped = at != MAP_FAILED ? at : &none;
    }
    return mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);

    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t us = now->tv_sec * MILLION + now->tv_nsec / 1000 + orders()->time_of_day_us;
        now->tv_sec = us / MILLION;
        now->tv_nsec = us % MILLION * 1000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){.tv_sec = precise.tv_sec, .tv_usec = precise.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (orders()->write_delay_us > 0)
        usleep((useconds_t)orders()->write_delay_us);
    return syscall(SYS_sendmsg, fd, message, flags);
}

int open(const char *path, int flags, ...)
{
    const char *machine_id = getenv("SHIM_MACHINE_ID");
    mode_t mode = 0;

    if ((flags & O_CREAT) != 0) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    if (machine_id != NULL && strcmp(path, "/etc/machine-id") == 0)
        path = machine_id;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));
