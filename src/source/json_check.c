/* SPDX-License-Identifier: BSD-2-Clause */
/* A state for each place in the grammar, and a list of what is open. */
#include "config.h"

#include "source/json_check.h"

#include <string.h>

#include "base/utf8.h"

enum state {
    CHECK_VALUE,      /* one has to come */
    CHECK_FIRST_ITEM, /* a value, or the array's end */
    CHECK_FIRST_KEY,  /* a key, or the object's end */
    CHECK_KEY,
    CHECK_COLON,
    CHECK_BEHIND, /* a value has ended */
    CHECK_STRING,
    CHECK_CHARACTER, /* in a string: the rest of one that is not ASCII */
    CHECK_ESCAPE,
    CHECK_HEX,
    CHECK_WORD,
    CHECK_MINUS, /* and the others of a number's places: what has just come */
    CHECK_ZERO,
    CHECK_DIGITS,
    CHECK_POINT,
    CHECK_FRACTION,
    CHECK_E,
    CHECK_E_SIGN,
    CHECK_EXPONENT,
    CHECK_BAD,
};

void json_check_init(struct json_check *check, TALLOC_CTX *ctx)
{
    *check = (struct json_check){.state = CHECK_VALUE};
    buf_init(&check->open, ctx, 0);
}

void json_check_begin(struct json_check *check)
{
    check->state = CHECK_VALUE;
    buf_clear(&check->open);
}

static size_t plain_by_byte(const char *bytes, size_t len)
{
    size_t at = 0;

    while (at < len && (unsigned char)bytes[at] >= 0x20 && (unsigned char)bytes[at] < 0x80 &&
           bytes[at] != '"' && bytes[at] != '\\')
        at++;
    return at;
}

size_t json_plain_bytes(const char *bytes, size_t len)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highest = ones * 0x80;
    size_t at = 0;

    /* eight at a time, as long as none of them can be another: a subtraction sets the highest bit
       of each byte below what is subtracted, and of some that are not */
    for (; len - at >= 8; at += 8) {
        uint64_t eight;
        memcpy(&eight, bytes + at, 8);
        uint64_t other = (eight - ones * 0x20) | ((eight ^ ones * '"') - ones) |
                         ((eight ^ ones * '\\') - ones) | eight;
        if ((other & highest) != 0)
            break;
    }
    return at + plain_by_byte(bytes + at, len - at);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum state begin_word(struct json_check *check, const char *rest)
{
    check->word = rest;
    return CHECK_WORD;
}

static enum state open_level(struct json_check *check, char c)
{
    buf_append_char(&check->open, c);
    return c == '[' ? CHECK_FIRST_ITEM : CHECK_FIRST_KEY;
}

static enum state begin_string(struct json_check *check, bool in_key)
{
    check->in_key = in_key;
    return CHECK_STRING;
}

static enum state begin_value(struct json_check *check, char c)
{
    switch (c) {
    case '"':
        return begin_string(check, false);
    case '[':
    case '{':
        return open_level(check, c);
    case 't':
        return begin_word(check, "rue");
    case 'f':
        return begin_word(check, "alse");
    case 'n':
        return begin_word(check, "ull");
    case '-':
        return CHECK_MINUS;
    case '0':
        return CHECK_ZERO;
    default:
        return is_digit(c) ? CHECK_DIGITS : CHECK_BAD;
    }
}

static enum state close_level(struct json_check *check, char c)
{
    struct buf *open = &check->open;

    if (open->len == 0 || open->data[open->len - 1] != (c == ']' ? '[' : '{'))
        return CHECK_BAD;
    open->len--;
    return CHECK_BEHIND;
}

static enum state behind_value(struct json_check *check, char c)
{
    const struct buf *open = &check->open;

    if (is_space(c))
        return CHECK_BEHIND;
    if (c == ',' && open->len > 0)
        return open->data[open->len - 1] == '[' ? CHECK_VALUE : CHECK_KEY;
    return c == ']' || c == '}' ? close_level(check, c) : CHECK_BAD;
}

/* The first byte of a character that is not ASCII. */
static enum state begin_character(struct json_check *check, char c)
{
    check->left = (unsigned char)utf8_form((unsigned char)c, &check->low, &check->high);
    return check->left > 0 ? CHECK_CHARACTER : CHECK_BAD;
}

static enum state in_character(struct json_check *check, char c)
{
    unsigned char byte = (unsigned char)c;

    if (byte < check->low || byte > check->high)
        return CHECK_BAD;
    check->low = 0x80;
    check->high = 0xbf;
    return --check->left > 0 ? CHECK_CHARACTER : CHECK_STRING;
}

static enum state in_string(struct json_check *check, char c)
{
    if (c == '"')
        return check->in_key ? CHECK_COLON : CHECK_BEHIND;
    if (c == '\\')
        return CHECK_ESCAPE;
    if ((unsigned char)c >= 0x80)
        return begin_character(check, c);
    return (unsigned char)c >= 0x20 ? CHECK_STRING : CHECK_BAD;
}

static enum state in_escape(struct json_check *check, char c)
{
    check->left = 4;
    if (c == 'u')
        return CHECK_HEX;
    return c != '\0' && strchr("\"\\/bfnrt", c) != NULL ? CHECK_STRING : CHECK_BAD;
}

static enum state in_hex(struct json_check *check, char c)
{
    bool is_hex = is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');

    if (!is_hex)
        return CHECK_BAD;
    return --check->left > 0 ? CHECK_HEX : CHECK_STRING;
}

static enum state in_word(struct json_check *check, char c)
{
    if (*check->word != c)
        return CHECK_BAD;
    return *++check->word != '\0' ? CHECK_WORD : CHECK_BEHIND;
}

static enum state in_number(struct json_check *check, char c)
{
    switch (check->state) {
    case CHECK_MINUS:
        return c == '0' ? CHECK_ZERO : is_digit(c) ? CHECK_DIGITS : CHECK_BAD;
    case CHECK_POINT:
    case CHECK_FRACTION:
        if (is_digit(c))
            return CHECK_FRACTION;
        break;
    case CHECK_E:
        if (c == '+' || c == '-')
            return CHECK_E_SIGN;
        return is_digit(c) ? CHECK_EXPONENT : CHECK_BAD;
    case CHECK_E_SIGN:
        return is_digit(c) ? CHECK_EXPONENT : CHECK_BAD;
    case CHECK_EXPONENT:
        return is_digit(c) ? CHECK_EXPONENT : behind_value(check, c);
    default: /* ZERO, DIGITS */
        if (is_digit(c))
            return check->state == CHECK_DIGITS ? CHECK_DIGITS : CHECK_BAD;
        if (c == '.')
            return CHECK_POINT;
    }
    if (check->state == CHECK_POINT)
        return CHECK_BAD;
    return c == 'e' || c == 'E' ? CHECK_E : behind_value(check, c);
}

static enum state before_key(struct json_check *check, char c)
{
    if (is_space(c))
        return (enum state)check->state;
    return c == '"' ? begin_string(check, true) : CHECK_BAD;
}

static enum state take_byte(struct json_check *check, char c)
{
    switch ((enum state)check->state) {
    case CHECK_VALUE:
        return is_space(c) ? CHECK_VALUE : begin_value(check, c);
    case CHECK_FIRST_ITEM:
        if (is_space(c))
            return CHECK_FIRST_ITEM;
        return c == ']' ? close_level(check, c) : begin_value(check, c);
    case CHECK_FIRST_KEY:
        return c == '}' ? close_level(check, c) : before_key(check, c);
    case CHECK_KEY:
        return before_key(check, c);
    case CHECK_COLON:
        if (is_space(c))
            return CHECK_COLON;
        return c == ':' ? CHECK_VALUE : CHECK_BAD;
    case CHECK_BEHIND:
        return behind_value(check, c);
    case CHECK_STRING:
        return in_string(check, c);
    case CHECK_CHARACTER:
        return in_character(check, c);
    case CHECK_ESCAPE:
        return in_escape(check, c);
    case CHECK_HEX:
        return in_hex(check, c);
    case CHECK_WORD:
        return in_word(check, c);
    case CHECK_BAD:
        return CHECK_BAD;
    default:
        return in_number(check, c);
    }
}

bool json_check_take(struct json_check *check, const char *bytes, size_t len)
{
    for (size_t at = 0; at < len; at++) {
        if (check->state == CHECK_STRING)
            at += json_plain_bytes(bytes + at, len - at);
        if (at == len)
            break;
        check->state = (unsigned char)take_byte(check, bytes[at]);
        if (check->state == CHECK_BAD)
            return false;
    }
    return check->state != CHECK_BAD;
}

bool json_check_is_whole(const struct json_check *check)
{
    bool has_ended = check->state == CHECK_BEHIND || check->state == CHECK_ZERO ||
                     check->state == CHECK_DIGITS || check->state == CHECK_FRACTION ||
                     check->state == CHECK_EXPONENT;

    return has_ended && check->open.len == 0;
}
