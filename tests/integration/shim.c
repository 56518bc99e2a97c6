/* SPDX-License-Identifier: BSD-2-Clause */
/* What a test does to a running process, by LD_PRELOAD: clocks that show something else, a
   delay before each response is written, and names that are looked up slowly. The file that
   SHIM_FILE names holds all that, as 64-bit numbers, and may be changed while the process runs.
   What SHIM_MACHINE_ID names is opened for /etc/machine-id. System calls are made directly, so that
   nothing has to be looked up while a sanitizer starts. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdbool.h>
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
    volatile int64_t held_us; /* for so long all clocks stood still */
    /* From then on, by the hardware's clock, all clocks but that one are slewed. */
    volatile int64_t slew_since_us;
    volatile int64_t slew_ppm;
    volatile int64_t names_held;
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

static int64_t slewed_us(void)
{
    struct timespec raw;

    if (orders()->slew_ppm == 0)
        return 0;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, &raw);
    return (raw.tv_sec * MILLION + raw.tv_nsec / 1000 - orders()->slew_since_us) *
           orders()->slew_ppm / MILLION;
}

/* By how much a clock is off. */
static int64_t error_us(clockid_t clock)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return orders()->time_of_day_us - orders()->held_us + slewed_us();
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        return slewed_us() - orders()->held_us;
    case CLOCK_MONOTONIC_RAW:
        return -orders()->held_us;
    default:
        return 0;
    }
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    int64_t error = result == 0 ? error_us(clock) : 0;

    if (error != 0) {
        int64_t us = now->tv_sec * MILLION + now->tv_nsec / 1000 + error;
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

static bool is_slow(const char *name)
{
    static const char ending[] = ".slow.test";
    size_t len = name != NULL ? strlen(name) : 0;

    return len > sizeof ending && strcmp(name + len - (sizeof ending - 1), ending) == 0;
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    /* the detour that POSIX asks for: an object's pointer is no function's */
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    /* what is asked for as a number is looked up nowhere */
    if (!is_slow(node) || (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0))
        return real(node, service, hints, found);
    while (orders()->names_held != 0)
        usleep(1000);
    return real("127.0.0.1", service, hints, found);
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
