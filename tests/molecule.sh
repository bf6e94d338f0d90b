#!/bin/sh
# Runs every molecule scenario of every role: molecule.sh [arguments of `molecule test`]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$root/.venv/bin:$PATH
ANSIBLE_COLLECTIONS_PATH=$root/collections
ANSIBLE_ROLES_PATH=$root/roles
export PATH ANSIBLE_COLLECTIONS_PATH ANSIBLE_ROLES_PATH

found=0
for scenarios in "$root"/roles/*/molecule; do
    [ -d "$scenarios" ] || continue
    found=1
    cd "$(dirname "$scenarios")"
    printf -- '--- role %s\n' "$(basename "$PWD")"
    molecule test --all "$@"
done
[ "$found" = 1 ] || { echo 'molecule: no role has a scenario' >&2; exit 1; }
