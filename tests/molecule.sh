#!/bin/sh
# Runs every molecule scenario of every role, two roles at a time: molecule.sh [arguments of `molecule test`]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$root/.venv/bin:$PATH
ANSIBLE_COLLECTIONS_PATH=$root/collections
ANSIBLE_ROLES_PATH=$root/roles
# Every platform is this machine: the Python that has the driver, not whichever discovery meets first.
ANSIBLE_PYTHON_INTERPRETER=$root/.venv/bin/python
LOGS=$(mktemp -d)
export PATH ANSIBLE_COLLECTIONS_PATH ANSIBLE_ROLES_PATH ANSIBLE_PYTHON_INTERPRETER LOGS
trap 'rm -rf "$LOGS"' EXIT
trap 'exit 1' HUP INT TERM

cd "$root/roles"
roles=$(for scenarios in */molecule; do [ ! -d "$scenarios" ] || dirname "$scenarios"; done)
[ -n "$roles" ] || { echo 'molecule: no role has a scenario' >&2; exit 1; }

# What a role says comes in one piece. A scenario of one does not know of the others: each has a server of its own.
one='role=$1; shift; cd "$role"; molecule test --all "$@" >"$LOGS/$role" 2>&1 || echo "$role" >>"$LOGS/.failed"'
status=0
# shellcheck disable=SC2086 # words
printf '%s\n' $roles | xargs -P 2 -I '{}' sh -c "$one" molecule '{}' "$@" || status=$?
for role in $roles; do
    printf -- '--- role %s\n' "$role"
    cat "$LOGS/$role"
done
[ ! -e "$LOGS/.failed" ] || { echo "molecule: failed: $(tr '\n' ' ' <"$LOGS/.failed")" >&2; exit 1; }
exit "$status"
