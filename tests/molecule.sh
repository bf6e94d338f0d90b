#!/bin/sh
# Runs every molecule scenario of every role: molecule.sh [arguments of `molecule test`]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$root/.venv/bin:$PATH
ANSIBLE_COLLECTIONS_PATH=$root/collections
ANSIBLE_ROLES_PATH=$root/roles
# Every platform is this machine: the Python that has the driver, not whichever discovery meets first.
ANSIBLE_PYTHON_INTERPRETER=$root/.venv/bin/python
export PATH ANSIBLE_COLLECTIONS_PATH ANSIBLE_ROLES_PATH ANSIBLE_PYTHON_INTERPRETER

found=0
for scenarios in "$root"/roles/*/molecule; do
    [ -d "$scenarios" ] || continue
    found=1
    cd "$(dirname "$scenarios")"
    printf -- '--- role %s\n' "$(basename "$PWD")"
    molecule test --all "$@"
done
[ "$found" = 1 ] || { echo 'molecule: no role has a scenario' >&2; exit 1; }
