#!/bin/sh
# Programs that some tests use and PyPI does not have, with the Debian package of each. As root, or by sudo that asks nothing.
set -eu
# Debian keeps pgbouncer and ip where the PATH of an ordinary user does not look.
PATH=$PATH:/usr/sbin:/sbin

missing=
for pair in pgbouncer:pgbouncer gh:gh npm:npm ip:iproute2 check_postgres:check-postgres \
    chromium:chromium chromedriver:chromium-driver; do
    command -v "${pair%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root='sudo -n'
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
elif [ -n "${CI:-}" ]; then
    echo "packages: missing$missing, and no right or no apt-get to install them" >&2
    exit 1
else
    echo "packages: without$missing, the tests that need them are skipped" >&2
fi
