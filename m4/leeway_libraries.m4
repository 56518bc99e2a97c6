dnl SPDX-License-Identifier: BSD-2-Clause
dnl LEEWAY_LIBRARIES: find every library, and name by Debian package all that
dnl are missing in one go.

dnl LEEWAY_LIB(NAME, HEADER, LIBRARY, FUNCTION, PACKAGE [, CPPFLAGS])
AC_DEFUN([LEEWAY_LIB], [
  leeway_saved_cppflags=$CPPFLAGS
  CPPFLAGS="$CPPFLAGS $6"
  AC_CHECK_HEADER([$2], [
    AC_CHECK_LIB([$3], [$4], [LEEWAY_LIBS="-l$3 $LEEWAY_LIBS"],
      [leeway_missing="$leeway_missing $5"])],
    [leeway_missing="$leeway_missing $5"])
  CPPFLAGS=$leeway_saved_cppflags
])

AC_DEFUN([LEEWAY_LIBRARIES], [
  LEEWAY_LIBS=
  leeway_missing=
  AC_PATH_PROG([PG_CONFIG], [pg_config])
  PQ_CPPFLAGS=
  AS_IF([test -n "$PG_CONFIG"], [PQ_CPPFLAGS="-isystem `$PG_CONFIG --includedir`"])
  LEEWAY_LIB([libpq], [libpq-fe.h], [pq], [PQsetSingleRowMode], [libpq-dev], [$PQ_CPPFLAGS])
  LEEWAY_LIB([libfcgi], [fcgiapp.h], [fcgi], [FCGX_Accept_r], [libfcgi-dev])
  LEEWAY_LIB([hiredis], [hiredis/hiredis.h], [hiredis], [redisReaderFeed], [libhiredis-dev])
  AC_CHECK_MEMBERS([redisReplyObjectFunctions.createDouble, redisReplyObjectFunctions.createBool],
    [], [], [[#include <hiredis/hiredis.h>]])
  LEEWAY_LIB([OpenSSL], [openssl/ssl.h], [crypto], [X509_VERIFY_PARAM_set1_ip_asc], [libssl-dev])
  AC_CHECK_LIB([ssl], [SSL_read_ex], [LEEWAY_LIBS="-lssl $LEEWAY_LIBS"],
    [leeway_missing="$leeway_missing libssl-dev"], [-lcrypto])
  LEEWAY_LIB([yajl], [yajl/yajl_gen.h], [yajl], [yajl_gen_alloc], [libyajl-dev])
  LEEWAY_LIB([libConfuse], [confuse.h], [confuse], [cfg_init], [libconfuse-dev])
  LEEWAY_LIB([talloc], [talloc.h], [talloc], [talloc_named_const], [libtalloc-dev])
  LEEWAY_LIB([xxHash], [xxhash.h], [xxhash], [XXH3_128bits], [libxxhash-dev])
  LEEWAY_LIB([libdeflate], [libdeflate.h], [deflate], [libdeflate_gzip_decompress_ex],
    [libdeflate-dev])
  LEEWAY_LIB([libev], [ev.h], [ev], [ev_run], [libev-dev])
  LEEWAY_LIB([cmocka], [setjmp.h], [cmocka], [_cmocka_run_group_tests], [libcmocka-dev])
  AC_CHECK_LIB([pthread], [pthread_create], [LEEWAY_LIBS="$LEEWAY_LIBS -lpthread"])
  AS_IF([test -n "$leeway_missing"],
    [AC_MSG_ERROR([missing libraries; on Debian: apt-get install$leeway_missing])])
  LEEWAY_LIBS=`echo "$LEEWAY_LIBS" | sed 's/-lcmocka *//'`
  AC_SUBST([LEEWAY_LIBS])
  AC_SUBST([PQ_CPPFLAGS])
  AC_SUBST([CMOCKA_LIBS], [-lcmocka])
])
