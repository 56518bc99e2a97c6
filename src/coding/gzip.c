/* SPDX-License-Identifier: BSD-2-Clause */
/* gzip by libdeflate, which needs all of a body at once and gives it back whole. */
#include "config.h"

#include <libdeflate.h>

#include "base/mem.h"
#include "coding/codings.h"

/* Of JSON with rows of a dozen fields, level 3 leaves 0.171 of it, level 6 0.162 in twice the time,
   level 1 0.181 in two thirds of it. What is large takes the quick one, for a process does nothing
   else meanwhile. */
enum { LEVEL = 3, QUICK_LEVEL = 1, QUICK_FROM_BYTES = 128 * 1024 };

/* One byte of deflate codes 1032 at the most. */
enum { MAX_RATIO = 1032 };

/* Made on first need and kept: they are some hundred kilobytes, and without a state between two
   bodies. */
static struct libdeflate_compressor *compressor_of(size_t len)
{
    static struct libdeflate_compressor *usual, *quick;
    bool is_quick = len >= QUICK_FROM_BYTES;
    struct libdeflate_compressor **compressor = is_quick ? &quick : &usual;

    if (*compressor == NULL)
        *compressor = mem_check(libdeflate_alloc_compressor(is_quick ? QUICK_LEVEL : LEVEL));
    return *compressor;
}

static bool code(struct buf *out, const char *bytes, size_t len, size_t limit)
{
    size_t coded_len =
        libdeflate_gzip_compress(compressor_of(len), bytes, len, buf_room(out, limit), limit);

    buf_took(out, coded_len);
    return coded_len > 0;
}

static bool decode(char *out, size_t out_len, const char *bytes, size_t len)
{
    static struct libdeflate_decompressor *decompressor;
    size_t used;

    if (decompressor == NULL)
        decompressor = mem_check(libdeflate_alloc_decompressor());
    return libdeflate_gzip_decompress_ex(decompressor, bytes, len, out, out_len, &used, NULL) ==
               LIBDEFLATE_SUCCESS &&
           used == len;
}

const struct coding coding_gzip = {
    .name = "gzip",
    .code = code,
    .decode = decode,
    .max_ratio = MAX_RATIO,
};
