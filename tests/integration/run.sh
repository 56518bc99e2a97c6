#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs the integration tests against the programs of this build; called by make check.
# LEEWAY_TESTS chooses among them, as pytest's -k does, and LEEWAY_MARK, as -m does. Leeway reaches
# Redis by what LEEWAY_TEST_REDIS says, "unix", "tcp" or "tls"; LEEWAY_TEST_REDIS_SERVER is its
# program.
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
# shellcheck disable=SC2086 -- PYTEST is a command with arguments
exec $PYTEST -p no:cacheprovider -q -ra ${LEEWAY_TESTS:+-k "$LEEWAY_TESTS"} \
    ${LEEWAY_MARK:+-m "$LEEWAY_MARK"} "$srcdir/tests/integration"
