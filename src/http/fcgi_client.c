/* SPDX-License-Identifier: BSD-2-Clause */
/* Records of one request, and of the one response. */
#include "config.h"

#include "http/fcgi_client.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"

enum {
    RECORD_VERSION = 1,
    HEADER_BYTES = 8,
    REQUEST_ID = 1,
    ROLE_RESPONDER = 1,
    MAX_URI = 32 * 1024,
    RECORD_BEGIN_REQUEST = 1,
    RECORD_END_REQUEST = 3,
    RECORD_PARAMS = 4,
    RECORD_STDIN = 5,
    RECORD_STDOUT = 6,
    RECORD_STDERR = 7,
};

static void append_header(struct buf *out, int type, size_t len)
{
    const char header[HEADER_BYTES] = {RECORD_VERSION, (char)type,       0,
                                       REQUEST_ID,     (char)(len >> 8), (char)len};

    buf_append(out, header, sizeof header);
}

static void append_length(struct buf *out, size_t len)
{
    if (len < 0x80) {
        buf_append_char(out, (char)len);
        return;
    }
    const char wide[4] = {(char)(0x80 | len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
    buf_append(out, wide, sizeof wide);
}

static void append_pair(struct buf *out, const char *name, const char *value, size_t value_len)
{
    append_length(out, strlen(name));
    append_length(out, value_len);
    buf_append_str(out, name);
    buf_append(out, value, value_len);
}

static void append_param(struct buf *out, const char *name, const char *value)
{
    append_pair(out, name, value, strlen(value));
}

void fcgi_client_ask(struct buf *out, const char *uri)
{
    static const char begin[8] = {0, ROLE_RESPONDER};
    size_t uri_len = strnlen(uri, MAX_URI);
    struct buf params;

    buf_init(&params, NULL, uri_len + 256);
    append_param(&params, "REQUEST_METHOD", "GET");
    append_pair(&params, "REQUEST_URI", uri, uri_len);
    append_param(&params, "QUERY_STRING", "");
    append_param(&params, "SCRIPT_NAME", "");
    append_pair(&params, "PATH_INFO", uri, uri_len);
    append_param(&params, "SERVER_PROTOCOL", "HTTP/1.1");
    append_param(&params, "REMOTE_ADDR", "127.0.0.1");
    append_header(out, RECORD_BEGIN_REQUEST, sizeof begin);
    buf_append(out, begin, sizeof begin);
    for (size_t at = 0; at < params.len; at += 0xffff) {
        size_t len = params.len - at < 0xffff ? params.len - at : 0xffff;
        append_header(out, RECORD_PARAMS, len);
        buf_append(out, params.data + at, len);
    }
    append_header(out, RECORD_PARAMS, 0);
    append_header(out, RECORD_STDIN, 0);
    talloc_free(params.data);
}

/* What follows the name of a header line, or NULL: it is another one. */
static const char *value_of(const char *line, size_t len, const char *name, size_t *value_len)
{
    size_t at = strlen(name);

    if (len < at || strncasecmp(line, name, at) != 0)
        return NULL;
    while (at < len && line[at] == ' ')
        at++;
    *value_len = len - at;
    return line + at;
}

static bool read_status(const char *text, size_t len, int64_t *status)
{
    return *status == -1 && len >= 3 && (len == 3 || text[3] == ' ') &&
           num_parse_i64(text, 3, status) && *status >= 100;
}

/* -1: not said yet. */
struct head {
    int64_t status;
    int64_t body_len;
};

static bool read_line(const char *line, size_t len, struct head *head)
{
    size_t value_len;
    const char *value = value_of(line, len, "Status:", &value_len);

    if (value != NULL)
        return read_status(value, value_len, &head->status);
    value = value_of(line, len, "Content-Length:", &value_len);
    return value == NULL ||
           (head->body_len == -1 && num_parse_i64(value, value_len, &head->body_len));
}

/* The header lines of a CGI response, and whether all of it is there. */
static bool read_content(const char *content, size_t len, struct fcgi_answer *answer)
{
    struct head head = {-1, -1};
    size_t at = 0;

    while (at < len) {
        const char *end = memmem(content + at, len - at, "\r\n", 2);
        if (end == NULL)
            return false;
        size_t line_len = (size_t)(end - content) - at;
        if (line_len == 0) {
            answer->status = (int)head.status;
            answer->body = end + 2;
            answer->body_len = len - at - 2;
            return head.status != -1 && head.body_len == (int64_t)answer->body_len;
        }
        if (!read_line(content + at, line_len, &head))
            return false;
        at += line_len + 2;
    }
    return false;
}

struct record {
    int type;
    const unsigned char *content;
    size_t content_len;
    size_t len;
};

static enum fcgi_answered read_record(const unsigned char *bytes, size_t len, struct record *record)
{
    if (len < HEADER_BYTES)
        return FCGI_ANSWER_MORE;
    if (bytes[0] != RECORD_VERSION || bytes[2] != 0 || bytes[3] != REQUEST_ID)
        return FCGI_ANSWER_BAD;
    record->type = bytes[1];
    record->content = bytes + HEADER_BYTES;
    record->content_len = (size_t)bytes[4] << 8 | bytes[5];
    record->len = HEADER_BYTES + record->content_len + bytes[6];
    return record->len > len ? FCGI_ANSWER_MORE : FCGI_ANSWER_WHOLE;
}

enum fcgi_answered fcgi_client_read(const unsigned char *bytes, size_t len, char *room,
                                    struct fcgi_answer *answer)
{
    size_t content_len = 0;
    struct record record;
    enum fcgi_answered found;

    for (size_t at = 0;; at += record.len) {
        if ((found = read_record(bytes + at, len - at, &record)) != FCGI_ANSWER_WHOLE)
            return found;
        if (record.type == RECORD_END_REQUEST)
            break;
        if (record.type != RECORD_STDOUT && record.type != RECORD_STDERR)
            return FCGI_ANSWER_BAD;
        if (record.type == RECORD_STDERR || record.content_len == 0)
            continue;
        memcpy(room + content_len, record.content, record.content_len);
        content_len += record.content_len;
    }
    /* protocolStatus: FCGI_REQUEST_COMPLETE */
    if (record.content_len != 8 || record.content[4] != 0)
        return FCGI_ANSWER_BAD;
    return read_content(room, content_len, answer) ? FCGI_ANSWER_WHOLE : FCGI_ANSWER_BAD;
}
