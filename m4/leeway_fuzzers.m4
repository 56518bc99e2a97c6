dnl SPDX-License-Identifier: BSD-2-Clause
dnl LEEWAY_FUZZERS: --enable-fuzzers builds tests/fuzz with libFuzzer, and all
dnl the code it reaches with its coverage and the sanitizers. It takes clang.
AC_DEFUN([LEEWAY_FUZZERS], [
  AC_ARG_ENABLE([fuzzers],
    [AS_HELP_STRING([--enable-fuzzers], [build the fuzz targets with clang's libFuzzer])],
    [], [enable_fuzzers=no])
  FUZZER_CFLAGS=
  FUZZER_LDFLAGS=
  AS_IF([test "x$enable_fuzzers" != xno], [
    FUZZER_CFLAGS="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all"
    FUZZER_LDFLAGS="-fsanitize=fuzzer"
    leeway_saved_cflags=$CFLAGS
    CFLAGS="$CFLAGS $FUZZER_CFLAGS $FUZZER_LDFLAGS"
    AC_MSG_CHECKING([whether $CC links with $FUZZER_LDFLAGS])
    AC_LINK_IFELSE([AC_LANG_SOURCE([[
      #include <stddef.h>
      #include <stdint.h>
      int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
      int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
      {
          (void)data;
          (void)size;
          return 0;
      }]])],
      [AC_MSG_RESULT([yes])],
      [AC_MSG_ERROR([no; configure with CC=clang, and on Debian install libclang-rt-dev])])
    CFLAGS=$leeway_saved_cflags
  ])
  AC_SUBST([FUZZER_CFLAGS])
  AC_SUBST([FUZZER_LDFLAGS])
  AM_CONDITIONAL([FUZZERS], [test "x$enable_fuzzers" != xno])
])
