/* SPDX-License-Identifier: BSD-2-Clause */
/* A bucket is one number, the time at which it will be full again (the generic cell rate
   algorithm): it is read, judged and replaced by compare-and-swap. Which client a bucket is of is
   told by a hash beside it, replaced likewise. Two processes that give a bucket to two clients at
   once, or that see the one's time beside the other's hash, grant or refuse a query too many; no
   more comes of it. The hash has a seed that nobody outside knows, so that no client can choose
   whom it meets. */
#include "config.h"

#include "app/ration.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/network.h"
#include "base/random.h"
#include "base/runtime_dir.h"

#define FILE_NAME "clients.1" /* with the version of the layout */

enum {
    SETS = 16 * 1024,
    IN_A_SET = 4,   /* a line of the processor's cache */
    ALONE_MIN = 20, /* requests, before it is said that there is but one client */
};

struct bucket {
    _Atomic uint64_t client; /* 0: nobody's */
    _Atomic uint64_t full_ns;
};

struct table {
    _Atomic uint64_t seed; /* 0: not yet chosen */
    uint64_t reserved[7];
    struct bucket sets[SETS][IN_A_SET];
};

struct ration {
    const char *directory;
    struct rate rate;
    int fd;
    struct table *table;
    bool complained;
    /* of ration_has_one_client() */
    uint64_t first;
    uint64_t requests; /* of its, in a row */
};

static void close_table(struct ration *ration)
{
    if (ration->table != NULL)
        munmap(ration->table, sizeof *ration->table);
    if (ration->fd != -1)
        close(ration->fd);
    ration->table = NULL;
    ration->fd = -1;
}

static int ration_destroy(struct ration *ration)
{
    close_table(ration);
    return 0;
}

/* Whoever is first chooses for all. */
static void choose_seed(struct table *table)
{
    uint64_t seed = random_number() | 1, none = 0;

    atomic_compare_exchange_strong(&table->seed, &none, seed);
}

/* The room is taken first: writing to a mapping that has none would end the process. */
static int open_table(struct ration *ration, char *error, size_t error_size)
{
    int fd =
        runtime_file_open(ration->directory, FILE_NAME, O_RDWR | O_CREAT, 0660, error, error_size);

    if (fd == -1)
        return -1;
    int problem = posix_fallocate(fd, 0, sizeof *ration->table);
    void *table =
        problem != 0 ? MAP_FAILED
                     : mmap(NULL, sizeof *ration->table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (table == MAP_FAILED) {
        snprintf(error, error_size, "no table of clients in %s: %s", ration->directory,
                 strerror(problem != 0 ? problem : errno));
        close(fd);
        return -1;
    }
    ration->fd = fd;
    ration->table = table;
    choose_seed(table);
    return 0;
}

struct ration *ration_open(TALLOC_CTX *ctx, const char *runtime_dir, const struct rate *rate,
                           char *error, size_t error_size)
{
    struct ration *ration = mem_check(talloc_zero(ctx, struct ration));

    ration->directory = mem_check(talloc_strdup(ration, runtime_dir));
    ration->rate = *rate;
    ration->fd = -1;
    if (open_table(ration, error, error_size) == -1) {
        talloc_free(ration);
        return NULL;
    }
    talloc_set_destructor(ration, ration_destroy);
    return ration;
}

void ration_tend(struct ration *ration)
{
    struct ration fresh = *ration;
    char error[256];

    if (!runtime_file_is_gone(ration->fd, ration->directory, FILE_NAME))
        return;
    if (runtime_dir_make(ration->directory, error, sizeof error) == -1 ||
        open_table(&fresh, error, sizeof error) == -1) {
        if (!ration->complained)
            log_event(LOG_LEVEL_ERROR, "the table of clients is gone and cannot be made anew",
                      log_text("error", error));
        ration->complained = true;
        return;
    }
    close_table(ration);
    *ration = fresh;
    ration->complained = false;
}

static uint64_t hash_of(const struct ration *ration, const char *client)
{
    uint64_t seed = atomic_load_explicit(&ration->table->seed, memory_order_relaxed);
    unsigned char prefix[NETWORK_CLIENT_BYTES];
    bool is_address = client != NULL && network_client(client, prefix);
    const char *text = client != NULL ? client : "";
    uint64_t hash = is_address ? XXH3_64bits_withSeed(prefix, sizeof prefix, seed)
                               : XXH3_64bits_withSeed(text, strlen(text), seed + 1);

    return hash != 0 ? hash : 1;
}

/* The bucket of a client, which may have to be taken from another. */
static struct bucket *find_bucket(struct table *table, uint64_t client)
{
    struct bucket *set = table->sets[client % SETS], *fullest = set;

    for (size_t i = 0; i < IN_A_SET; i++) {
        if (atomic_load_explicit(&set[i].client, memory_order_relaxed) == client)
            return &set[i];
        if (atomic_load_explicit(&set[i].full_ns, memory_order_relaxed) <
            atomic_load_explicit(&fullest->full_ns, memory_order_relaxed))
            fullest = &set[i];
    }
    uint64_t before = atomic_load_explicit(&fullest->client, memory_order_relaxed);
    if (atomic_compare_exchange_strong(&fullest->client, &before, client))
        atomic_store(&fullest->full_ns, 0);
    return fullest;
}

static uint64_t depth_ns_of(const struct rate *rate)
{
    return 1000000000U / (uint64_t)rate->a_second * (uint64_t)rate->burst;
}

/* When the bucket is full again once another token is taken. A time that none can have is of
   another clock: the machine has started anew since. */
static uint64_t next_full_ns(const struct rate *rate, uint64_t full_ns, uint64_t now_ns)
{
    uint64_t token_ns = 1000000000U / (uint64_t)rate->a_second;
    bool is_full = full_ns < now_ns || full_ns > now_ns + 2 * depth_ns_of(rate);

    return (is_full ? now_ns : full_ns) + token_ns;
}

static bool take_token(struct bucket *bucket, const struct rate *rate, uint64_t now_ns)
{
    uint64_t full_ns = atomic_load(&bucket->full_ns), next_ns;

    do {
        next_ns = next_full_ns(rate, full_ns, now_ns);
        if (next_ns > now_ns + depth_ns_of(rate))
            return false;
    } while (!atomic_compare_exchange_weak(&bucket->full_ns, &full_ns, next_ns));
    return true;
}

static void note(struct ration *ration, uint64_t client)
{
    if (client != ration->first)
        ration->requests = 0;
    ration->first = client;
    ration->requests++;
}

bool ration_take(struct ration *ration, const char *client, int64_t now_us)
{
    uint64_t hash = hash_of(ration, client);
    struct bucket *bucket = find_bucket(ration->table, hash);

    note(ration, hash);
    return take_token(bucket, &ration->rate, (uint64_t)now_us * 1000);
}

int64_t ration_wait(struct ration *ration, const char *client, int64_t now_us)
{
    struct bucket *bucket = find_bucket(ration->table, hash_of(ration, client));
    uint64_t now_ns = (uint64_t)now_us * 1000, allowed_ns = now_ns + depth_ns_of(&ration->rate);
    uint64_t next_ns = next_full_ns(&ration->rate, atomic_load(&bucket->full_ns), now_ns);

    return next_ns > allowed_ns ? (int64_t)((next_ns - allowed_ns) / 1000) + 1 : 1;
}

bool ration_has_one_client(const struct ration *ration)
{
    return ration->requests >= ALONE_MIN;
}
