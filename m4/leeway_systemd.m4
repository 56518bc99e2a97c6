dnl SPDX-License-Identifier: BSD-2-Clause
dnl LEEWAY_SYSTEMD: whether and where units and sysusers.d(5) files are installed. The default is
dnl below the prefix, so that nothing is ever written outside of it that was not asked for; systemd
dnl also looks below /usr/local.
AC_DEFUN([LEEWAY_SYSTEMD], [
  AC_ARG_WITH([systemdsystemunitdir],
    [AS_HELP_STRING([--with-systemdsystemunitdir=DIR],
      [install systemd units into DIR; "no": do not (default: below PREFIX if pkg-config finds systemd)])],
    [], [with_systemdsystemunitdir=auto])
  AC_PATH_PROG([PKG_CONFIG], [pkg-config])
  AS_CASE([$with_systemdsystemunitdir],
    [no], [systemdsystemunitdir=],
    [auto|yes], [
      systemdsystemunitdir=
      AS_IF([test -n "$PKG_CONFIG" && $PKG_CONFIG --exists systemd],
        [AS_IF([test "x$prefix" = x/usr],
          [systemdsystemunitdir=`$PKG_CONFIG --variable=systemdsystemunitdir systemd`],
          [systemdsystemunitdir='${prefix}/lib/systemd/system'])],
        [test "x$with_systemdsystemunitdir" = xyes],
        [systemdsystemunitdir='${prefix}/lib/systemd/system'])],
    [systemdsystemunitdir=$with_systemdsystemunitdir])
  AC_SUBST([systemdsystemunitdir])
  AC_SUBST([sysusersdir], ['${prefix}/lib/sysusers.d'])
  AM_CONDITIONAL([SYSTEMD], [test -n "$systemdsystemunitdir"])
])
