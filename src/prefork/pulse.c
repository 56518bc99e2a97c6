/* SPDX-License-Identifier: BSD-2-Clause */
/* One page of anonymous shared memory. */
#include "config.h"

#include "prefork/pulse.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

enum { ROUTE_BYTES = 256 };

struct pulse_memory {
    _Atomic uint32_t turns;
    /* Only the child writes it, and the parent reads it when the child does not write any more. */
    char route[ROUTE_BYTES];
};

struct pulse {
    struct pulse_memory *memory;
};

static int pulse_destroy(struct pulse *pulse)
{
    munmap(pulse->memory, sizeof *pulse->memory);
    return 0;
}

struct pulse *pulse_new(TALLOC_CTX *ctx)
{
    void *memory = mmap(NULL, sizeof(struct pulse_memory), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    struct pulse *pulse = mem_check(talloc_zero(ctx, struct pulse));
    pulse->memory = memory;
    talloc_set_destructor(pulse, pulse_destroy);
    return pulse;
}

void pulse_turn(struct pulse *pulse)
{
    if (pulse == NULL)
        return;
    uint32_t turns = atomic_load_explicit(&pulse->memory->turns, memory_order_relaxed);
    atomic_store_explicit(&pulse->memory->turns, turns + 1, memory_order_relaxed);
}

void pulse_at(struct pulse *pulse, const char *pattern)
{
    size_t len;

    if (pulse == NULL)
        return;
    len = strnlen(pattern, ROUTE_BYTES - 1);
    memcpy(pulse->memory->route, pattern, len);
    pulse->memory->route[len] = '\0';
}

uint32_t pulse_turns(const struct pulse *pulse)
{
    return atomic_load_explicit(&pulse->memory->turns, memory_order_relaxed);
}

void pulse_route(const struct pulse *pulse, char *out, size_t size)
{
    size_t len = strnlen(pulse->memory->route, ROUTE_BYTES - 1);

    if (len >= size)
        len = size - 1;
    memcpy(out, pulse->memory->route, len);
    out[len] = '\0';
}

bool pulse_look(struct pulse_watch *watch, uint32_t turns, bool excused)
{
    bool silent = turns == watch->turns && !excused;

    watch->turns = turns;
    watch->silent = silent ? watch->silent + 1 : 0;
    return watch->silent >= PULSE_LOOKS;
}
