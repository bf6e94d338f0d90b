#!/bin/sh
# Runs targets of make at once: beside.sh TARGET... What each says comes in one piece, in the order in which they are named.
set -eu
logs=$(mktemp -d)
running=
stop() {
    # shellcheck disable=SC2086 # words
    [ -z "$running" ] || kill $running 2>/dev/null || true
    rm -rf "$logs"
}
trap stop EXIT
trap 'exit 1' HUP INT TERM

for target in "$@"; do
    make --no-print-directory "$target" >"$logs/$target" 2>&1 &
    running="$running $!"
done

failed=
for target in "$@"; do
    pid=${running# }
    pid=${pid%% *}
    wait "$pid" || failed="$failed $target"
    running=${running#*" $pid"}
    cat "$logs/$target"
done
[ -z "$failed" ] || {
    echo "failed:$failed" >&2
    exit 1
}
