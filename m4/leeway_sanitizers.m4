dnl SPDX-License-Identifier: BSD-2-Clause
dnl LEEWAY_SANITIZERS: --enable-sanitizers builds with AddressSanitizer (leaks
dnl included) and UndefinedBehaviorSanitizer; every finding ends the process.
AC_DEFUN([LEEWAY_SANITIZERS], [
  AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers], [build with AddressSanitizer and UndefinedBehaviorSanitizer])],
    [], [enable_sanitizers=no])
  SANITIZER_CFLAGS=
  AS_IF([test "x$enable_sanitizers" != xno], [
    SANITIZER_CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    leeway_saved_cflags=$CFLAGS
    CFLAGS="$CFLAGS $SANITIZER_CFLAGS"
    AC_MSG_CHECKING([whether $CC links with $SANITIZER_CFLAGS])
    AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AC_MSG_RESULT([yes])],
      [AC_MSG_ERROR([no; with clang on Debian the package libclang-rt-dev is needed])])
    CFLAGS=$leeway_saved_cflags
    AC_DEFINE([SANITIZERS], [1], [Define to 1 if sanitizers look for errors.])
  ])
  AC_SUBST([SANITIZER_CFLAGS])
])
