/* SPDX-License-Identifier: BSD-2-Clause */
/* Percent-encoding in both directions, and taking request targets apart without
   copying them. */
#include "config.h"

#include "http/uri.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

#define DIGITS  "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The byte that the escape at raw.data[at] stands for, or -1 if it is broken. */
static int escaped_byte(struct slice raw, size_t at)
{
    if (raw.len - at < 3)
        return -1;
    int high = hex_value(raw.data[at + 1]);
    int low = hex_value(raw.data[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* The number of bytes written to `out`, which has room for raw.len, or -1. */
static ssize_t decode_bytes(struct slice raw, enum uri_decode how, char *out)
{
    ssize_t len = 0;

    for (size_t i = 0; i < raw.len; i++) {
        int byte = (unsigned char)raw.data[i];
        if (byte == '%') {
            byte = escaped_byte(raw, i);
            i += 2;
        } else if (byte == '+' && how == URI_DECODE_QUERY) {
            byte = ' ';
        }
        if (byte <= 0)
            return -1;
        out[len++] = (char)byte;
    }
    return len;
}

char *uri_decode(TALLOC_CTX *ctx, struct slice raw, enum uri_decode how, size_t *len)
{
    char *text = mem_check(talloc_array(ctx, char, raw.len + 1));
    ssize_t bytes = decode_bytes(raw, how, text);

    if (bytes < 0 || utf8_length(text, (size_t)bytes) < 0) {
        talloc_free(text);
        return NULL;
    }
    text[bytes] = '\0';
    if (len != NULL)
        *len = (size_t)bytes;
    return text;
}

/* RFC 3986, section 2.3. */
static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void uri_encode(struct buf *out, const char *text, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t plain = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (is_unreserved(text[i])) {
            plain++;
            continue;
        }
        const char escape[] = {'%', hex[byte >> 4], hex[byte & 0xf]};
        buf_append(out, text + i - plain, plain);
        buf_append(out, escape, sizeof escape);
        plain = 0;
    }
    buf_append(out, text + len - plain, plain);
}

void uri_encode_path(struct buf *out, const char *path)
{
    size_t plain = strcspn(path, "%");

    buf_append(out, path, plain);
    while (path[plain] != '\0') {
        path += plain + 1;
        plain = strcspn(path, "%");
        buf_append_str(out, "%25");
        buf_append(out, path, plain);
    }
}

/* Where the path or query of an absolute-form target begins; NULL if it is none. */
static const char *behind_authority(const char *target)
{
    size_t scheme = strspn(target, LETTERS DIGITS "+-.");

    if (scheme == 0 || strncmp(target + scheme, "://", 3) != 0)
        return NULL;
    target += scheme + 3;
    return target + strcspn(target, "/?");
}

bool uri_split(const char *target, struct slice *path, struct slice *query)
{
    const char *behind = behind_authority(target);
    const char *start = behind != NULL ? behind : target;
    size_t len = strcspn(start, "?");

    *path = (struct slice){start, len};
    *query = (struct slice){NULL, 0};
    if (start[len] == '?')
        *query = (struct slice){start + len + 1, strlen(start + len + 1)};
    /* RFC 9110, section 4.2.3: an empty path of an absolute form is "/" */
    if (behind != NULL && len == 0)
        *path = (struct slice){"/", 1};
    return strchr(target, '#') == NULL;
}

/* The byte at raw.data[*at], decoded, and *at behind it. An encoded slash is
   data and thus no slash. */
static int next_byte(struct slice raw, size_t *at)
{
    int byte = raw.data[*at] == '%' ? escaped_byte(raw, *at) : -1;

    if (byte < 0)
        return (unsigned char)raw.data[(*at)++];
    *at += 3;
    return byte == '/' ? 0x100 + '/' : byte;
}

bool uri_below_mount(struct slice path, const char *mount, struct slice *below)
{
    const struct slice prefix = {mount, strlen(mount)};
    size_t at = 0;

    for (size_t i = 0; i < prefix.len;)
        if (at == path.len || next_byte(path, &at) != next_byte(prefix, &i))
            return false;
    if (at < path.len && path.data[at] != '/')
        return false;
    *below = at < path.len ? (struct slice){path.data + at, path.len - at} : (struct slice){"/", 1};
    return true;
}

/* RFC 3986, section 3.3, and the slash: what a path may hold as it is. */
static bool is_plain_in_path(char c)
{
    return c != '\0' && (is_unreserved(c) || strchr("!$&'()*+,;=:@/", c) != NULL);
}

bool uri_begins_with(struct slice path, const char *bytes, size_t *len)
{
    *len = 0;
    for (; *bytes != '\0'; bytes++) {
        if (*len < path.len && path.data[*len] == *bytes)
            *len += 1;
        else if (*len < path.len && path.data[*len] == '%' && !is_plain_in_path(*bytes) &&
                 escaped_byte(path, *len) == (unsigned char)*bytes)
            *len += 3;
        else
            return false;
    }
    return true;
}

bool uri_is_dots(struct slice segment)
{
    return (segment.len == 1 || segment.len == 2) && memcmp(segment.data, "..", segment.len) == 0;
}

bool uri_next_pair(struct slice *rest, struct slice *name, struct slice *value)
{
    while (rest->len > 0) {
        const char *start = rest->data;
        const char *ampersand = memchr(start, '&', rest->len);
        size_t len = ampersand != NULL ? (size_t)(ampersand - start) : rest->len;
        size_t step = ampersand != NULL ? len + 1 : len;

        rest->data += step;
        rest->len -= step;
        if (len == 0)
            continue;
        const char *equals = memchr(start, '=', len);
        size_t name_len = equals != NULL ? (size_t)(equals - start) : len;
        size_t value_at = equals != NULL ? name_len + 1 : len;
        *name = (struct slice){start, name_len};
        *value = (struct slice){start + value_at, len - value_at};
        return true;
    }
    return false;
}
