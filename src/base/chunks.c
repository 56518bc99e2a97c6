/* SPDX-License-Identifier: BSD-2-Clause */
/* A list of chunks, of which the last one may have room left. Each is mapped by itself: the C
   library would give the room of all of them back to the kernel at once. */
#include "config.h"

#include "base/chunks.h"

#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

enum { CHUNK_BYTES = 64 * 1024 };

struct chunks {
    char **list;
    size_t dropped; /* of the list, the first that are there no more */
    size_t count;
    size_t room; /* of the list */
    size_t len;
};

void chunks_drop(struct chunks *chunks, size_t before)
{
    for (; chunks->dropped < before / CHUNK_BYTES; chunks->dropped++)
        munmap(chunks->list[chunks->dropped], CHUNK_BYTES);
}

static int chunks_destroy(struct chunks *chunks)
{
    chunks_drop(chunks, chunks->count * CHUNK_BYTES);
    return 0;
}

struct chunks *chunks_new(TALLOC_CTX *ctx)
{
    struct chunks *chunks = mem_check(talloc_zero(ctx, struct chunks));

    talloc_set_destructor(chunks, chunks_destroy);
    return chunks;
}

static void add_chunk(struct chunks *chunks)
{
    if (chunks->count == chunks->room) {
        chunks->room = chunks->room > 0 ? chunks->room * 2 : 16;
        chunks->list =
            mem_check(talloc_realloc(chunks, chunks->list, char *, (unsigned)chunks->room));
    }
    void *chunk =
        mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    chunks->list[chunks->count++] = mem_check(chunk != MAP_FAILED ? chunk : NULL);
}

void chunks_append(struct chunks *chunks, const void *bytes, size_t len)
{
    const char *from = bytes;

    while (len > 0) {
        if (chunks->len == chunks->count * CHUNK_BYTES)
            add_chunk(chunks);
        size_t used = chunks->len % CHUNK_BYTES;
        size_t some = len < CHUNK_BYTES - used ? len : CHUNK_BYTES - used;
        memcpy(chunks->list[chunks->count - 1] + used, from, some);
        from += some;
        len -= some;
        chunks->len += some;
    }
}

size_t chunks_length(const struct chunks *chunks)
{
    return chunks->len;
}

const char *chunks_at(const struct chunks *chunks, size_t at, size_t *len)
{
    size_t within = at % CHUNK_BYTES;
    size_t left = chunks->len - at;

    *len = left < CHUNK_BYTES - within ? left : CHUNK_BYTES - within;
    return chunks->list[at / CHUNK_BYTES] + within;
}

char *chunks_join(TALLOC_CTX *ctx, const struct chunks *chunks)
{
    char *joined = mem_check(talloc_array(ctx, char, (unsigned)chunks->len + 1));
    size_t len;

    for (size_t at = 0; at < chunks->len; at += len) {
        const char *chunk = chunks_at(chunks, at, &len);
        memcpy(joined + at, chunk, len);
    }
    joined[chunks->len] = '\0';
    return joined;
}
