/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that processes share: what others may have put there is left alone. */
#include "config.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <talloc.h>
#include <unistd.h>

#include "base/runtime_dir.h"

enum { SOMEBODY = 12345 };

struct fixture {
    char folder[64]; /* what lies elsewhere */
    char directory[80];
    char path[100];  /* of the file in it */
    char victim[80]; /* somebody else's file */
    char error[256];
};

static int set_up(void **state)
{
    struct fixture *fixture = talloc_zero(NULL, struct fixture);

    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/leeway-runtime-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->directory, sizeof fixture->directory, "%s/run", fixture->folder);
    snprintf(fixture->path, sizeof fixture->path, "%s/file", fixture->directory);
    snprintf(fixture->victim, sizeof fixture->victim, "%s/victim", fixture->folder);
    close(open(fixture->victim, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(mkdir(fixture->directory, 0750), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    unlink(fixture->path);
    rmdir(fixture->path);
    unlink(fixture->victim);
    rmdir(fixture->directory);
    rmdir(fixture->folder);
    talloc_free(fixture);
    return 0;
}

static int open_file(struct fixture *fixture)
{
    fixture->error[0] = '\0';
    return runtime_file_open(fixture->directory, "file", O_RDWR | O_CREAT, 0640, fixture->error,
                             sizeof fixture->error);
}

static int make(struct fixture *fixture, const char *path)
{
    fixture->error[0] = '\0';
    return runtime_dir_make(path, fixture->error, sizeof fixture->error);
}

static void test_a_file_is_made_and_opened_again(void **state)
{
    struct fixture *fixture = *state;
    int first = open_file(fixture), second = open_file(fixture);

    check(first != -1 && second != -1, "%s", fixture->error);
    assert_int_equal(write(first, "x", 1), 1);
    assert_int_equal(lseek(second, 0, SEEK_END), 1);
    assert_int_equal(fcntl(first, F_GETFD), FD_CLOEXEC);
    close(first);
    close(second);
}

static void put_link(const struct fixture *fixture)
{
    assert_int_equal(symlink(fixture->victim, fixture->path), 0);
}

static void put_dangling_link(const struct fixture *fixture)
{
    assert_int_equal(symlink("../nothing", fixture->path), 0);
}

static void put_second_name(const struct fixture *fixture)
{
    assert_int_equal(link(fixture->victim, fixture->path), 0);
}

static void put_fifo(const struct fixture *fixture)
{
    assert_int_equal(mkfifo(fixture->path, 0600), 0);
}

static void put_directory(const struct fixture *fixture)
{
    assert_int_equal(mkdir(fixture->path, 0700), 0);
}

static void test_what_others_may_have_put_there_is_refused(void **state)
{
    static const struct {
        void (*put)(const struct fixture *fixture);
        const char *sentence;
    } cases[] = {
        {put_link, "link"},
        {put_dangling_link, "link"},
        {put_second_name, "another name"},
        {put_fifo, "no regular file"},
        {put_directory, "no regular file"},
    };
    struct fixture *fixture = *state;
    char nothing[100];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cases[i].put(fixture);
        check(open_file(fixture) == -1, "%s", cases[i].sentence);
        assert_int_equal(errno, EPERM);
        check(strstr(fixture->error, cases[i].sentence) != NULL, "\"%s\", not \"%s\"",
              fixture->error, cases[i].sentence);
        check(strstr(fixture->error, fixture->path) != NULL, "%s", fixture->error);
        unlink(fixture->path);
        rmdir(fixture->path);
    }
    snprintf(nothing, sizeof nothing, "%s/nothing", fixture->folder);
    assert_int_equal(access(nothing, F_OK), -1);
}

/* Only root can give files away, and so try it. */
static void test_whose_files_are_used(void **state)
{
    static const struct {
        uid_t directory, file;
        mode_t mode;
        bool used;
    } cases[] = {
        {0, 0, 0750, true},         {SOMEBODY, SOMEBODY, 0750, true},
        {SOMEBODY, 0, 0750, true},  {0, SOMEBODY, 0770, true},
        {0, SOMEBODY, 0750, false}, {SOMEBODY, SOMEBODY + 1, 0750, false},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(cases) && geteuid() == 0; i++) {
        close(open(fixture->path, O_CREAT | O_WRONLY, 0600));
        assert_int_equal(chown(fixture->path, cases[i].file, 0), 0);
        assert_int_equal(chown(fixture->directory, cases[i].directory, 0), 0);
        assert_int_equal(chmod(fixture->directory, cases[i].mode), 0);
        int fd = open_file(fixture);
        check((fd != -1) == cases[i].used, "row %zu: %s", i, fixture->error);
        check(cases[i].used || strstr(fixture->error, "another user") != NULL, "%s",
              fixture->error);
        if (fd != -1)
            close(fd);
        unlink(fixture->path);
    }
}

static void test_errors_of_the_system(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(
        runtime_file_open("/nonexistent", "file", O_RDWR, 0, fixture->error, sizeof fixture->error),
        -1);
    assert_int_equal(errno, ENOENT);
    assert_non_null(strstr(fixture->error, "/nonexistent/file"));
    assert_int_equal(runtime_file_open(fixture->directory, "file", O_RDWR, 0, fixture->error,
                                       sizeof fixture->error),
                     -1);
    assert_int_equal(errno, ENOENT);
}

static void test_the_directory(void **state)
{
    static const struct {
        mode_t mode;
        int made;
    } cases[] = {{0700, 0}, {0755, 0}, {0770, 0}, {02775, 0}, {0777, -1}, {01777, -1}, {0752, -1}};
    struct fixture *fixture = *state;
    struct stat found;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(chmod(fixture->directory, cases[i].mode), 0);
        check(make(fixture, fixture->directory) == cases[i].made, "mode %o: %s", cases[i].mode,
              fixture->error);
        check((strstr(fixture->error, "everybody may write") != NULL) == (cases[i].made == -1),
              "%s", fixture->error);
    }
    assert_int_equal(make(fixture, fixture->victim), -1);
    assert_non_null(strstr(fixture->error, "no directory"));
    assert_int_equal(make(fixture, "/proc/nonexistent/run"), -1);
    assert_non_null(strstr(fixture->error, "/proc/nonexistent/run"));
    rmdir(fixture->directory);
    unlink(fixture->victim);
    rmdir(fixture->folder); /* parents are made too */
    assert_int_equal(make(fixture, fixture->directory), 0);
    assert_int_equal(stat(fixture->directory, &found), 0);
    assert_true(S_ISDIR(found.st_mode));
}

/* Only root can be in a directory of somebody else's. */
static void test_whose_directory_it_is(void **state)
{
    struct fixture *fixture = *state;

    if (geteuid() != 0)
        return;
    assert_int_equal(chown(fixture->directory, 12345, 12345), 0);
    assert_int_equal(chmod(fixture->directory, 0755), 0);
    assert_int_equal(make(fixture, fixture->directory), -1);
    assert_non_null(strstr(fixture->error, "belongs to another user"));
    assert_int_equal(chmod(fixture->directory, 0775), 0);
    assert_int_equal(make(fixture, fixture->directory), 0);
}

static void test_files_that_a_group_shares(void **state)
{
    struct fixture *fixture = *state;
    struct stat found;
    mode_t before = umask(077);

    for (int shared = 0; shared <= 1; shared++) {
        assert_int_equal(chmod(fixture->directory, shared ? 02770 : 0700), 0);
        int fd = runtime_file_open(fixture->directory, shared ? "shared" : "own", O_RDWR | O_CREAT,
                                   0660, fixture->error, sizeof fixture->error);
        assert_int_not_equal(fd, -1);
        assert_int_equal(fstat(fd, &found), 0);
        assert_int_equal(found.st_mode & 0777, shared ? 0660 : 0600);
        close(fd);
    }
    umask(before);
}

static void test_a_file_that_is_gone(void **state)
{
    struct fixture *fixture = *state;
    int fd = open_file(fixture);

    assert_false(runtime_file_is_gone(fd, fixture->directory, "file"));
    unlink(fixture->path);
    assert_true(runtime_file_is_gone(fd, fixture->directory, "file"));
    int other = open_file(fixture);
    assert_true(runtime_file_is_gone(fd, fixture->directory, "file"));
    assert_false(runtime_file_is_gone(other, fixture->directory, "file"));
    char elsewhere[100];
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", fixture->folder);
    assert_int_equal(rename(fixture->path, elsewhere), 0);
    assert_true(runtime_file_is_gone(other, fixture->directory, "file"));
    assert_int_equal(rename(elsewhere, fixture->path), 0);
    assert_false(runtime_file_is_gone(other, fixture->directory, "file"));
    close(fd);
    close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_file_is_made_and_opened_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_others_may_have_put_there_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_whose_files_are_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors_of_the_system, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_whose_directory_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_that_a_group_shares, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_gone, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
