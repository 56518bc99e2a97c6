#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs the integration tests against the programs of this build; called by make check.
# LEEWAY_TESTS chooses among them, as pytest's -k does, and LEEWAY_MARK, as -m does. Leeway reaches
# Redis by what LEEWAY_TEST_REDIS says, "unix", "tcp" or "tls"; LEEWAY_TEST_REDIS_SERVER is its
# program. LEEWAY_JOBS is how many of its files run at once.
set -eu

if [ -z "${PYTEST:-}" ]; then
    echo "no python3 with pytest, psycopg2 and redis: the integration tests are left out"
    exit 77
fi
for program in "${LEEWAY_TEST_REDIS_SERVER:-redis-server}" openssl lighttpd spawn-fcgi apache2 nginx haproxy caddy varnishd promtool \
    systemd-analyze; do
    if ! PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null; then
        echo "$program is not installed: the integration tests are left out"
        exit 77
    fi
done
PATH="$PATH:/usr/sbin:/sbin"
LEEWAY_BUILDDIR=$(pwd)
PYTHONDONTWRITEBYTECODE=1
export PATH LEEWAY_BUILDDIR PYTHONDONTWRITEBYTECODE

# run MARK [OPTION...]
run() {
    mark=$1
    shift
    # shellcheck disable=SC2086 -- PYTEST is a command with arguments
    $PYTEST -p no:cacheprovider -q -ra "$@" ${LEEWAY_TESTS:+-k "$LEEWAY_TESTS"} \
        -m "$mark${LEEWAY_MARK:+ and $LEEWAY_MARK}" "$srcdir/tests/integration"
}

# Tests wait more than they compute: some files at once take half the time. Those that need the
# machine for themselves follow.
status=0
# shellcheck disable=SC2086 -- PYTEST is a command with arguments
if $PYTEST --help | grep -q -e '--dist'; then
    run "not alone" -n "${LEEWAY_JOBS:-$(($(nproc) + 1))}" --dist loadfile || status=$?
else
    run "not alone" || status=$?
fi
# 5: none was chosen
[ "$status" -ne 5 ] || status=0
alone=0
run alone || alone=$?
[ "$alone" -ne 5 ] || alone=0
[ "$status" -ne 0 ] || status=$alone
exit "$status"
