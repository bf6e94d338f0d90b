#!/bin/sh
# Programs that some tests use and PyPI does not have, with the Debian package of each. As root, or by sudo that asks nothing.
set -eu
# Debian keeps pgbouncer and ip where the PATH of an ordinary user does not look.
PATH=$PATH:/usr/sbin:/sbin

missing=
for pair in pgbouncer:pgbouncer gh:gh npm:npm ip:iproute2 curl:curl check_postgres:check-postgres \
    chromium:chromium chromedriver:chromium-driver; do
    command -v "${pair%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
# Their packages are those of services, which would be started: the programs alone.
programs='' unpacked=''
for pair in promtool:prometheus prometheus-node-exporter:prometheus-node-exporter prometheus-pushgateway:prometheus-pushgateway; do
    command -v "${pair%:*}" >/dev/null || programs="$programs ${pair%:*}" unpacked="$unpacked ${pair#*:}"
done
[ -n "$missing$unpacked" ] || exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root='sudo -n'
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # words
    [ -z "$missing" ] ||
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    if [ -n "$unpacked" ]; then
        folder=$(mktemp -d)
        # shellcheck disable=SC2086 # words
        (
            cd "$folder" && apt-get -o APT::Sandbox::User=root download -qq $unpacked
            for package in *.deb; do dpkg -x "$package" .; done
            cd usr/bin && $as_root cp $programs /usr/local/bin
        )
        rm -rf "$folder"
    fi
elif [ -n "${CI:-}" ]; then
    echo "packages: missing$missing$unpacked, and no right or no apt-get to install them" >&2
    exit 1
else
    echo "packages: without$missing$unpacked, the tests that need them are skipped" >&2
fi
