dnl SPDX-License-Identifier: BSD-2-Clause
dnl LEEWAY_WARNINGS: put into WARN_CFLAGS those warnings which this compiler
dnl knows, and -Werror where --enable-werror asks for it.
AC_DEFUN([LEEWAY_WARNINGS], [
  AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors])],
    [], [enable_werror=no])
  WARN_CFLAGS=
  leeway_saved_cflags=$CFLAGS
  for flag in -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
      -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla \
      -Wredundant-decls -Wnested-externs -Wold-style-definition \
      -Wnull-dereference -Wduplicated-cond -Wlogical-op -Wimplicit-fallthrough; do
    AC_MSG_CHECKING([whether $CC knows $flag])
    dnl clang accepts an unknown warning and only warns of it, hence -Werror
    CFLAGS="$leeway_saved_cflags -Werror $flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM()],
      [AC_MSG_RESULT([yes]); WARN_CFLAGS="$WARN_CFLAGS $flag"],
      [AC_MSG_RESULT([no])])
  done
  CFLAGS=$leeway_saved_cflags
  AS_IF([test "x$enable_werror" != xno], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
  AC_SUBST([WARN_CFLAGS])
])
