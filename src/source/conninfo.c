/* SPDX-License-Identifier: BSD-2-Clause */
/* libpq decides what is malformed. Why is found out here, by the same rules. */
#include "config.h"

#include "source/conninfo.h"

#include <ctype.h>
#include <libpq-fe.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"

static const char how_to_escape[] =
    "; in a URI, write a character of the user name or password that is not a letter or digit as "
    "% and two hexadecimal digits";

static const PQconninfoOption *find_option(const PQconninfoOption *options, const char *keyword,
                                           size_t len)
{
    for (; options != NULL && options->keyword != NULL; options++)
        if (strlen(options->keyword) == len && memcmp(options->keyword, keyword, len) == 0)
            return options;
    return NULL;
}

static bool is_set(const PQconninfoOption *options, const char *keyword)
{
    const PQconninfoOption *option = find_option(options, keyword, strlen(keyword));

    return option != NULL && option->val != NULL && option->val[0] != '\0';
}

static bool is_space(char c)
{
    return isspace((unsigned char)c) != 0;
}

static const char *skip_space(const char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

/* Past a value; NULL: its quote is not closed. */
static const char *skip_value(const char *at)
{
    bool quoted = *at == '\'';

    for (at += quoted; *at != '\0'; at++) {
        if (quoted ? *at == '\'' : is_space(*at))
            return at + quoted;
        if (*at == '\\' && at[1] != '\0')
            at++;
    }
    return quoted ? NULL : at;
}

/* The keyword whose value was read last, for a message. */
struct word {
    const char *text;
    size_t len;
};

static void explain_missing_equals(const struct word *last, long long place, char *error,
                                   size_t error_size)
{
    if (last->len > 0)
        snprintf(error, error_size,
                 "at character %lld, behind the value of %.*s, a word is not followed by '='; a "
                 "value with spaces in it must stand in single quotes",
                 place, (int)last->len, last->text);
    else
        snprintf(error, error_size, "the word at character %lld is not followed by '='", place);
}

/* "keyword=value keyword='a value'". false: it has no fault that is known here. */
static bool explain_pairs(const char *conninfo, const PQconninfoOption *known, char *error,
                          size_t error_size)
{
    struct word last = {NULL, 0};

    for (const char *at = skip_space(conninfo); *at != '\0'; at = skip_space(at)) {
        long long place = at - conninfo + 1;
        struct word word = {at, strcspn(at, "= \t\n\v\f\r")};
        at = skip_space(at + word.len);
        if (*at != '=') {
            explain_missing_equals(&last, place, error, error_size);
            return true;
        }
        if (find_option(known, word.text, word.len) == NULL) {
            snprintf(error, error_size,
                     "what stands before the '=' at character %lld is not a keyword of libpq",
                     (long long)(at - conninfo + 1));
            return true;
        }
        at = skip_value(skip_space(at + 1));
        if (at == NULL) {
            snprintf(error, error_size, "the quote around the value of %.*s is not closed",
                     (int)word.len, word.text);
            return true;
        }
        last = word;
    }
    return false;
}

/* What follows "postgres://" or "postgresql://"; NULL: it is no URI. */
static const char *uri_rest(const char *conninfo)
{
    static const char *const schemes[] = {"postgres://", "postgresql://"};

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strncmp(conninfo, schemes[i], strlen(schemes[i])) == 0)
            return conninfo + strlen(schemes[i]);
    return NULL;
}

static void explain_uri(const char *conninfo, char *error, size_t error_size)
{
    const char *at = conninfo;

    while ((at = strchr(at, '%')) != NULL) {
        if (!isxdigit((unsigned char)at[1]) || !isxdigit((unsigned char)at[2])) {
            snprintf(error, error_size,
                     "the %% at character %lld is not followed by two hexadecimal digits; a %% "
                     "itself is written %%25",
                     (long long)(at - conninfo + 1));
            return;
        }
        at++;
    }
    snprintf(error, error_size,
             "the URI is malformed, or has a parameter that libpq does not know%s", how_to_escape);
}

static void explain(const char *conninfo, char *error, size_t error_size)
{
    PQconninfoOption *known = PQconninfoParse("", NULL);

    if (known == NULL)
        snprintf(error, error_size, "out of memory");
    else if (uri_rest(conninfo) != NULL)
        explain_uri(conninfo, error, error_size);
    else if (!explain_pairs(conninfo, known, error, error_size))
        snprintf(error, error_size, "it is malformed");
    PQconninfoFree(known);
}

/* The next of a list that commas part, without the spaces around it; *at moves behind its comma,
   or becomes NULL after the last. */
static struct word next_of_list(const char **at)
{
    size_t len = strcspn(*at, ",");
    struct word word = {*at, len};

    *at = (*at)[len] == ',' ? *at + len + 1 : NULL;
    while (word.len > 0 && is_space(*word.text)) {
        word.text++;
        word.len--;
    }
    while (word.len > 0 && is_space(word.text[word.len - 1]))
        word.len--;
    return word;
}

static bool is_port(const struct word *word)
{
    int64_t port;

    return word->len == 0 ||
           (num_parse_i64(word->text, word->len, &port) && port >= 1 && port <= 65535);
}

/* An '@' begins the name of an abstract socket, and otherwise only ends a password. */
static bool is_host(const struct word *word)
{
    if (word->len == 0 || word->text[0] == '/') /* a socket's directory may have any name */
        return true;
    return memchr(word->text + 1, '@', word->len - 1) == NULL;
}

static bool all_of_list(const PQconninfoOption *options, const char *keyword,
                        bool (*is_right)(const struct word *))
{
    const PQconninfoOption *option = find_option(options, keyword, strlen(keyword));
    const char *at = option != NULL ? option->val : NULL;

    while (at != NULL) {
        struct word word = next_of_list(&at);
        if (!is_right(&word))
            return false;
    }
    return true;
}

/* Hosts, ports and database of a URI, as written, up to its parameters. libpq takes the first '@'
   for the end of the password unless a '/' comes before it. */
static struct word uri_places(const char *uri)
{
    size_t to_at = strcspn(uri, "@/");
    const char *places = uri[to_at] == '@' ? uri + to_at + 1 : uri;

    return (struct word){places, strcspn(places, "?")};
}

/* Errors that come up with the connection would quote these. */
static int check_parts(const char *conninfo, const PQconninfoOption *options, char *error,
                       size_t error_size)
{
    const char *uri = uri_rest(conninfo);
    struct word places = uri_places(uri != NULL ? uri : "");
    const char *problem = NULL;

    if (memchr(places.text, '@', places.len) != NULL)
        problem = "there is a '@' in or behind the host";
    else if (!all_of_list(options, "host", is_host))
        problem = "a host has '@' in it";
    else if (!all_of_list(options, "port", is_port))
        problem = "a port is not a number from 1 to 65535";
    if (problem == NULL)
        return 0;
    snprintf(error, error_size, "%s%s", problem, uri != NULL ? how_to_escape : "");
    return -1;
}

int conninfo_check(const char *conninfo, bool *has_password, char *error, size_t error_size)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

    if (options == NULL) {
        explain(conninfo, error, error_size);
        return -1;
    }
    *has_password = is_set(options, "password");
    int result = check_parts(conninfo, options, error, error_size);
    PQconninfoFree(options);
    return result;
}

static bool is_in_environment(const char *variable)
{
    const char *value = getenv(variable);

    return value != NULL && value[0] != '\0';
}

/* ~/.pgpass, where libpq looks for it. */
static bool has_own_password_file(void)
{
    const struct passwd *account = getpwuid(geteuid());
    const char *home = getenv("HOME");
    char path[PATH_MAX];

    if (home == NULL || home[0] == '\0')
        home = account != NULL ? account->pw_dir : "";
    snprintf(path, sizeof path, "%s/.pgpass", home);
    return access(path, F_OK) == 0;
}

bool conninfo_leads_to_password(const char *conninfo)
{
    static const char *const keywords[] = {"password", "sslpassword", "passfile", "service"};
    static const char *const variables[] = {"PGPASSWORD", "PGPASSFILE", "PGSERVICE"};
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    bool leads = has_own_password_file();

    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        leads = leads || is_set(options, keywords[i]);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        leads = leads || is_in_environment(variables[i]);
    PQconninfoFree(options);
    return leads;
}
