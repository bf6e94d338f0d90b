#!/bin/sh
# Makes or updates .venv from a lock file: setup.sh runtime|dev, from the root of the repository. With CORE=2.18 it gets that
# release of ansible-core, from requirements/core, in the place of the one in the lock.
#
# A stamp inside .venv holds what it was made from: folder, Python, lock. As long as the stamp says the same, nothing is
# done. It is written last, so an interrupted set-up is never taken for a finished one: it is made again from nothing.
set -eu

kind=$1
lock=requirements/$kind.txt
core=${CORE:+requirements/core/$CORE.txt}
venv=.venv

usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

stop() {
    printf 'set-up: %s\n' "$@" >&2
    exit 1
}

# The text that a valid stamp has. Scripts in .venv/bin name their interpreter by full path: a moved checkout needs new ones.
wanted() {
    printf '%s\n' "$PWD"
    "$venv/bin/python" -c 'import platform; print(platform.python_implementation(), *platform.python_version_tuple()[:2])'
    cat "requirements/$1.txt" $core
}

current() {
    [ -f "$venv/stamp-$1" ] && wanted "$1" 2>/dev/null | cmp -s - "$venv/stamp-$1"
}

stamp() {
    wanted "$1" >"$venv/stamp.new"
    mv "$venv/stamp.new" "$venv/stamp-$1"
}

# Whether .venv comes from the interpreter that was asked for; always so when none was.
same_python() {
    [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -c "$base" 2>/dev/null)" = "$("$venv/bin/python" -c "$base" 2>/dev/null)" ]
}
base='import os, sys; print(os.path.realpath(sys.base_prefix), sys.version)'

if same_python && current "$kind"; then
    exit 0
fi

# What a run with sudo has made belongs to root, and a checkout may be read-only.
for path in . .cache .cache/setup.lock "$venv" "$venv/bin"; do
    [ ! -e "$path" ] || [ -w "$path" ] || {
        owner=$(ls -ld "$path" | awk '{ print $3 }')
        [ "$path" != . ] ||
            stop "this checkout ($PWD, of $owner) cannot be written by $(id -un)." \
                "Clone it to a place of your own: git clone '$PWD' ~/maintenance"
        stop "$path belongs to $owner and cannot be written by $(id -un); most likely a run with sudo has made it." \
            "Take it back, and run without sudo: sudo chown -R $(id -un) .venv .cache .embedded"
    }
done

# Without a choice, an intact .venv is kept when tools are added to it.
python=${PYTHON:-python3}
if [ -z "${PYTHON:-}" ] && current runtime; then
    python=$venv/bin/python
fi
command -v "$python" >/dev/null ||
    stop "there is no $python on this machine." "Name one that is 3.11 or newer, for example: make PYTHON=python3.12 ..."
usable "$python" ||
    stop "$python is $("$python" -V 2>&1 | head -n 1), and 3.11 or newer is needed." \
        "Name another one, for example: make PYTHON=python3.12 ..."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python lacks the modules venv and ensurepip." \
        "Install them (Debian, Ubuntu: the package python3-venv), or name another one: make PYTHON=python3.12 ..."

# One set-up at a time: the lock is on the open file, which this shell keeps until it ends. Another may just have done the work.
mkdir -p .cache
exec 9>.cache/setup.lock
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
if same_python && current "$kind"; then
    exit 0
fi

if ! { same_python && current runtime; }; then
    echo "set-up: new $venv with $("$python" -V)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

echo "set-up: installing $lock"
rm -f "$venv"/stamp*
for file in "$lock" $core; do
    PIP_USER=0 "$venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r "$file"
done

# The development lock holds the runtime's, at the same versions.
# With another ansible-core it does not, and then the next set-up begins anew.
[ "$kind" = runtime ] || [ -n "$core" ] || stamp runtime
stamp "$kind"
