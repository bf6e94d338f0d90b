#!/bin/sh
# Builds the collection and looks at it from outside, as those do who only have the built file: ansible-lint without this
# repository's configuration, and Ansible Galaxy's own importer. The importer has an environment of its own below .cache.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/.venv/bin
importer=$root/.cache/galaxy
lock=$root/requirements/galaxy.txt

wanted() {
    "$bin/python" -V
    cat "$lock"
}
if ! wanted | cmp -s - "$importer/stamp"; then
    rm -rf "$importer"
    "$bin/python" -m venv "$importer"
    PIP_USER=0 "$importer/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r "$lock"
    wanted >"$importer/stamp"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
"$bin/ansible-galaxy" collection build "$root/collections/ansible_collections/vtchat/maintenance" --output-path "$work" >/dev/null
unpacked=$work/ansible_collections/vtchat/maintenance
mkdir -p "$unpacked"
tar -xzf "$work"/vtchat-maintenance-*.tar.gz -C "$unpacked"

echo 'ansible-lint, profile production, on the built collection'
(cd "$unpacked" && PATH=$bin:$PATH ansible-lint --offline --strict --profile production)

echo 'galaxy-importer'
# ansible-lint has just been run, more strictly.
cat >"$work/importer.cfg" <<'CFG'
[galaxy-importer]
RUN_ANSIBLE_LINT = False
CHECK_REQUIRED_TAGS = True
REQUIRE_V1_OR_GREATER = True
CFG
cd "$work"
PATH=$importer/bin:$PATH GALAXY_IMPORTER_CONFIG=$work/importer.cfg \
    "$importer/bin/python" -m galaxy_importer.main "$work"/vtchat-maintenance-*.tar.gz >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
grep -E '^(WARNING|ERROR)' "$work/log" | grep -v 'skip ansible-test sanity tests' || echo 'no complaints'
