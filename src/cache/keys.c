/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys carry the parameters in full, so that two responses never share one by a
   chance of hashing; only what changes with a deployment is hashed. */
#include "config.h"

#include "cache/keys.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/uri.h"

char *key_base(TALLOC_CTX *ctx, const char *prefix, const struct route *route,
               const char *fingerprint, const struct param_values *values)
{
    struct buf out;

    buf_init(&out, ctx, 128);
    buf_append_str(&out, prefix);
    buf_append_str(&out, ":{");
    buf_append_str(&out, route->name);
    buf_append_char(&out, '.');
    buf_append_str(&out, fingerprint);
    buf_append_char(&out, ':');
    for (size_t i = 0; i < values->count; i++) {
        if (i > 0)
            buf_append_char(&out, '&');
        if (values->texts[i] == NULL)
            continue;
        buf_append_char(&out, '=');
        uri_encode(&out, values->texts[i], strlen(values->texts[i]));
    }
    buf_append_char(&out, '}');
    return out.data;
}

char *key_base_of_route(TALLOC_CTX *ctx, const char *prefix, const char *name,
                        const char *fingerprint)
{
    return mem_check(talloc_asprintf(ctx, "%s:{%s.%s:*", prefix, name, fingerprint));
}

/* Without a format, which would be a good part of what a hit costs. */
static char *with_suffix(TALLOC_CTX *ctx, const char *base, const char *suffix)
{
    size_t base_len = strlen(base), suffix_len = strlen(suffix);
    char *key = mem_check(talloc_size(ctx, base_len + suffix_len + 1));

    memcpy(key, base, base_len);
    memcpy(key + base_len, suffix, suffix_len + 1);
    return key;
}

#define ENTRY ":entry"
#define LEASE ":lease"

char *key_entry(TALLOC_CTX *ctx, const char *base)
{
    return with_suffix(ctx, base, ENTRY);
}

const char *key_entry_in(char *room, size_t size, TALLOC_CTX *ctx, const char *base)
{
    size_t len = strlen(base);

    if (len + sizeof ENTRY > size)
        return key_entry(ctx, base);
    memcpy(room, base, len);
    memcpy(room + len, ENTRY, sizeof ENTRY);
    return room;
}

char *key_lease(TALLOC_CTX *ctx, const char *base)
{
    return with_suffix(ctx, base, LEASE);
}

char *key_of_any(TALLOC_CTX *ctx, const char *pattern)
{
    return with_suffix(ctx, pattern, ":*");
}

char *key_base_of(TALLOC_CTX *ctx, const char *key, size_t len)
{
    static const char *const suffixes[] = {ENTRY, LEASE};

    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t suffix_len = strlen(suffixes[i]);
        if (len > suffix_len && memcmp(key + len - suffix_len, suffixes[i], suffix_len) == 0)
            return mem_check(talloc_strndup(ctx, key, len - suffix_len));
    }
    return NULL;
}

char *key_channel(TALLOC_CTX *ctx, const char *base)
{
    return with_suffix(ctx, base, ":done");
}

char *key_note(TALLOC_CTX *ctx, const char *prefix, const char *identity)
{
    return mem_check(talloc_asprintf(ctx, "%s:identity:%s", prefix, identity));
}

char *key_switches(TALLOC_CTX *ctx, const char *prefix, const char *identity)
{
    return mem_check(talloc_asprintf(ctx, "%s:switches:%s", prefix, identity));
}

char *key_peers(TALLOC_CTX *ctx, const char *prefix, const char *identity)
{
    return mem_check(talloc_asprintf(ctx, "%s:{peers.%s}", prefix, identity));
}

char *key_peer(TALLOC_CTX *ctx, const char *prefix, const char *identity, const char *name)
{
    return mem_check(talloc_asprintf(ctx, "%s:{peers.%s}:%s", prefix, identity, name));
}

char *key_clock(TALLOC_CTX *ctx, const char *prefix)
{
    return with_suffix(ctx, prefix, ":clock");
}

/* Earlier releases had one list for all, PREFIX:jobs, and look for the jobs of the dead by the
   pattern {PREFIX:jobs}:processing:*. No name here is like one of theirs: old and new run side by
   side. */
char *key_jobs(TALLOC_CTX *ctx, const char *prefix, const char *list)
{
    return key_of_queue(ctx, prefix, list, "list", "");
}

char *key_of_queue(TALLOC_CTX *ctx, const char *prefix, const char *list, const char *kind,
                   const char *of)
{
    return mem_check(talloc_asprintf(ctx, "{%s:jobs}:%s:%s%s%s", prefix, list, kind,
                                     of[0] != '\0' ? ":" : "", of));
}

char *key_of_lists(TALLOC_CTX *ctx, const char *prefix, const char *kind)
{
    return mem_check(talloc_asprintf(ctx, "{%s:jobs}:%s", prefix, kind));
}
