#!/bin/sh
# Runs `ansible-test sanity` on the collection, with the Python and ansible-core of .venv: sanity.sh [arguments]
#
# ansible-test makes an environment per test and loads pip for it from a host of its own. It looks into its cache first,
# so a file there that uses the pip that comes with Python makes a package index the only thing needed. The cache lies in
# the home: a private one, below .cache, leaves the user's alone.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$root/.venv/bin:$PATH
real_home=${HOME:-/}
HOME=$root/.cache/home
export PATH HOME

# ansible-test hides the environment from pip: the user's configuration has to be where pip looks for it.
mkdir -p "$HOME/.config" "$HOME/.ansible/test/cache"
[ ! -e "$real_home/.config/pip" ] || ln -sfn "$real_home/.config/pip" "$HOME/.config/pip"

# The version of pip in the file's name belongs to the release of ansible-core.
pip_version=$(python -c '
import sys
from types import SimpleNamespace
from ansible_test._internal.python_requirements import get_venv_packages
python = SimpleNamespace(version="%d.%d" % sys.version_info[:2])
print(get_venv_packages(python)["pip"])')
cat >"$HOME/.ansible/test/cache/get_pip_$(echo "$pip_version" | tr . _).py" <<'PYTHON'
import ensurepip

ensurepip.bootstrap()
PYTHON

python_version=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
cd "$root/collections/ansible_collections/vtchat/maintenance"
# Not here: pylint, whose findings ruff and mypy already give, in a tenth of the time; and PowerShell, of which there is none.
exec ansible-test sanity --color no --python "$python_version" --skip-test pylint --skip-test pslint "$@"
