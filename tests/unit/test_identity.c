/* SPDX-License-Identifier: BSD-2-Clause */
/* What is kept of an identity, when two notes mean one database, and what makes a generation. */
#include "config.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/identity.h"
#include "base/mem.h"

static const struct identity_record sample = {
    .identity = "0123456789abcdef",
    .configuration = "fedcba9876543210",
    .known = {.system = "7712736954742851766", .database = "16456", .accepts = 3},
    .session = 0xfedcba9876543210,
    .destination = {.hosts = "/run/pg:5432@m1",
                    .database = "a b\nc",
                    .user = "\xc3\xa9",
                    .options = "-c a=100% -c b=\xe9"},
};

static void check_same(const struct identity_record *a, const struct identity_record *b)
{
    assert_string_equal(a->identity, b->identity);
    assert_string_equal(a->configuration, b->configuration);
    assert_string_equal(a->known.system, b->known.system);
    assert_string_equal(a->known.database, b->known.database);
    assert_int_equal(a->known.accepts, b->known.accepts);
    assert_true(a->session == b->session);
    assert_string_equal(a->destination.hosts, b->destination.hosts);
    assert_string_equal(a->destination.database, b->destination.database);
    assert_string_equal(a->destination.user, b->destination.user);
    assert_string_equal(a->destination.options, b->destination.options);
}

static void test_record_comes_back(void **state)
{
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct identity_record back;
    char *text = identity_record_encode(ctx, &sample);

    (void)state;
    assert_int_equal(identity_record_decode(ctx, text, &back), 0);
    check_same(&sample, &back);
    /* cut anywhere, it is none */
    for (size_t len = 0; len < strlen(text); len++)
        check(identity_record_decode(ctx, talloc_strndup(ctx, text, len), &back) == -1, "%zu", len);
    assert_int_equal(identity_record_decode(ctx, talloc_asprintf(ctx, "%sx", text), &back), -1);
    talloc_free(ctx);
}

static void test_broken_records(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"leeway-identity 1", "leeway-identity 2"},
        {"0123456789abcdef", "0123456789ABCDEF"},
        {"0123456789abcdef", "0123456789abcde"},
        {"oid 16456", "oid 16456x"},
        {"oid 16456", "oid 1234567890123456"},
        {"system 7", "system -7"},
        {"accepts 3", "accepts -3"},
        {"accepts 3", "accepts 99999999999999999999"},
        {"session f", "session g"},
        {"user ", "usher "},
        {"%0A", "%00"},
        {"%0A", "%GG"},
        {"%C3", "%C"},
        {"%A9", "%A"},
    };
    TALLOC_CTX *ctx = talloc_new(NULL);
    const char *text = identity_record_encode(ctx, &sample);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct identity_record back;
        const char *at = strstr(text, cases[i].from);
        check(at != NULL, "%s", cases[i].from);
        char *broken = talloc_asprintf(ctx, "%.*s%s%s", (int)(at - text), text, cases[i].to,
                                       at + strlen(cases[i].from));
        check(identity_record_decode(ctx, broken, &back) == -1, "%s", cases[i].to);
    }
    talloc_free(ctx);
}

static void test_files(void **state)
{
    char directory[] = "/tmp/test_identity.XXXXXX";
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct identity_record back, *found, other = sample;
    char *path;

    (void)state;
    assert_non_null(mkdtemp(directory));
    path = talloc_asprintf(ctx, "%s/identity.%s", directory, sample.identity);
    assert_int_equal(identity_file_read(ctx, directory, sample.identity, &back), 0);
    assert_int_equal(identity_file_write(directory, &sample), 0);
    /* what somebody of the same number has left is in nobody's way */
    char *left = talloc_asprintf(ctx, "%s.%ld.new", path, (long)getpid());
    assert_int_equal(mkdir(left, 0700), 0);
    assert_int_equal(chmod(directory, 0770), 0);
    assert_int_equal(identity_file_write(directory, &sample), 0);
    assert_int_equal(rmdir(left), 0);
    /* who shares the directory replaces it in turn */
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0660);
    assert_int_equal(identity_file_read(ctx, directory, sample.identity, &back), 1);
    check_same(&sample, &back);
    assert_int_equal(identity_file_find(ctx, directory, "0000000000000000", &found), 0);
    assert_int_equal(identity_file_find(ctx, directory, sample.configuration, &found), 1);
    check_same(&sample, &found[0]);
    strcpy(other.identity, "1111111111111111");
    assert_int_equal(identity_file_write(directory, &other), 0);
    assert_int_equal(identity_file_find(ctx, directory, sample.configuration, &found), 2);
    /* one that says to be another's */
    assert_int_equal(
        rename(talloc_asprintf(ctx, "%s/identity.%s", directory, other.identity), path), 0);
    assert_int_equal(identity_file_read(ctx, directory, sample.identity, &back), 0);
    unlink(path);
    assert_int_equal(rmdir(directory), 0); /* nothing else is left */
    assert_int_equal(identity_file_write(directory, &sample), -1);
    talloc_free(ctx);
}

/* It is there all the same, for those whose it is. */
static void test_a_file_that_may_not_be_read(void **state)
{
    char directory[] = "/tmp/test_identity.XXXXXX";
    TALLOC_CTX *ctx = talloc_new(NULL);
    struct identity_record back;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(directory));
    char *path = talloc_asprintf(ctx, "%s/identity.%s", directory, sample.identity);
    assert_int_equal(chmod(directory, 0755), 0);
    assert_false(identity_file_exists(directory, sample.identity));
    assert_null(identity_file_obstacle(ctx, directory));
    assert_int_equal(identity_file_write(directory, &sample), 0);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(seteuid(65534), 0);
    bool exists = identity_file_exists(directory, sample.identity);
    int found = identity_file_read(ctx, directory, sample.identity, &back);
    const char *obstacle = identity_file_obstacle(ctx, directory);
    assert_int_equal(seteuid(0), 0);
    assert_true(exists);
    assert_int_equal(found, 0);
    assert_non_null(obstacle);
    assert_non_null(strstr(obstacle, path));
    unlink(path);
    rmdir(directory);
    talloc_free(ctx);
}

static void test_which_notes_agree(void **state)
{
    static const struct {
        struct identity_note a, b;
        bool agree;
    } cases[] = {
        {{"1", "2", 0}, {"1", "2", 0}, true},    {{"1", "2", 0}, {"1", "2", 5}, true},
        {{"1", "2", 0}, {"3", "2", 0}, false},   {{"1", "2", 0}, {"1", "3", 0}, false},
        {{"", "2", 0}, {"1", "2", 0}, true},     {{"1", "2", 0}, {"", "2", 0}, true},
        {{"", "2", 0}, {"", "2", 0}, true},      {{"", "2", 0}, {"", "3", 0}, false},
        {{"12", "3", 0}, {"1", "23", 0}, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check(identity_note_agrees(&cases[i].a, &cases[i].b) == cases[i].agree, "case %zu", i);
}

static void test_how_notes_are_completed(void **state)
{
    static const struct {
        struct identity_note note, by;
        const char *system;
    } cases[] = {
        {{"", "2", 0}, {"1", "2", 0}, "1"},  {{"", "2", 0}, {"1", "2", 3}, "1"},
        {{"", "2", 1}, {"1", "2", 0}, ""},   {{"", "2", 0}, {"1", "3", 0}, ""},
        {{"4", "2", 0}, {"1", "2", 0}, "4"}, {{"4", "2", 0}, {"", "2", 0}, "4"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct identity_note note = cases[i].note;
        identity_note_complete(&note, &cases[i].by);
        check(strcmp(note.system, cases[i].system) == 0, "case %zu", i);
    }
}

static void test_generations(void **state)
{
    static const struct {
        const char *user, *search_path;
        struct identity_note known;
    } cases[] = {
        {"u", "public", {"7", "5", 0}}, {"u", "public", {"7", "5", 1}},
        {"u", "public", {"8", "5", 0}}, {"u", "public", {"7", "6", 0}},
        {"u", "public", {"", "5", 0}},  {"u", "public", {"75", "", 0}},
        {"v", "public", {"7", "5", 0}}, {"u", "other", {"7", "5", 0}},
        {"", "upublic", {"7", "5", 0}}, {"upublic", "", {"7", "5", 0}},
    };
    uint64_t seen[COUNT_OF(cases)];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t session = identity_session_hash(cases[i].user, cases[i].search_path);
        seen[i] = identity_generation_of(session, &cases[i].known);
        check(seen[i] != 0 && seen[i] != UINT64_MAX, "case %zu", i);
        assert_true(seen[i] == identity_generation_of(session, &cases[i].known));
        for (size_t j = 0; j < i; j++)
            check(seen[i] != seen[j], "%zu and %zu", i, j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_comes_back),
        cmocka_unit_test(test_broken_records),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_a_file_that_may_not_be_read),
        cmocka_unit_test(test_which_notes_agree),
        cmocka_unit_test(test_how_notes_are_completed),
        cmocka_unit_test(test_generations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
