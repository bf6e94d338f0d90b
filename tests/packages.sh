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
# Its package is that of a server, which would be started.
promtool=
command -v promtool >/dev/null || promtool=prometheus
[ -n "$missing$promtool" ] || exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root='sudo -n'
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # words
    [ -z "$missing" ] ||
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    if [ -n "$promtool" ]; then
        folder=$(mktemp -d)
        (cd "$folder" && apt-get -o APT::Sandbox::User=root download -qq "$promtool" && dpkg -x prometheus_*.deb . &&
            $as_root cp usr/bin/promtool /usr/local/bin)
        rm -rf "$folder"
    fi
elif [ -n "${CI:-}" ]; then
    echo "packages: missing$missing${promtool:+ $promtool}, and no right or no apt-get to install them" >&2
    exit 1
else
    echo "packages: without$missing${promtool:+ $promtool}, the tests that need them are skipped" >&2
fi
