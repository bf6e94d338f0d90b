# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is mistyped after make is refused before anything happens, for every target that there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z][a-z-]*):.*## ", MAKEFILE, re.MULTILINE)
PLAYBOOKS = re.findall(r"^([a-z][a-z-]*):.*\n\t\$\(call playbook,", MAKEFILE, re.MULTILINE)
for of_the_demo in ("demo-history", "stop"):  # whatever is said
    PLAYBOOKS.remove(of_the_demo)

# What somebody types after a target, and the words that must come back.
FOR_ALL = {
    "--check": "CHECK=1",
    "--chec": "CHECK=1",
    "-L": "CHECK=1",
    "-n": "CHECK=1",
    "--dry-run": "CHECK=1",
    "--just-print": "CHECK=1",
    "-ks --recon": "CHECK=1",
    "-j2 -n": "CHECK=1",
    "-t": "ARGS=",
    "-q": "ARGS=",
    "-e x=1": "ARGS=",
    "-i production": "INVENTORY=production",
    "-l vtchat_production": "no target vtchat_production",
    "--diff": "unrecognized option",
    "--limit=x": "unrecognized option",
    "check=1": "CHECK=1",
    "CHEK=1": "CHECK=1",
    "INVENTROY=production": "INVENTORY=production",
    "ARG=-v": "ARGS=",
    "DATABASE_URL=postgresql://u:pass@h/d": "before make",
    "CHECK =1": "",
    "CHECK": "no target CHECK",
    "production": "no target production",
    "-- --check": "no target --check",
    "'a b=1'": "no target a b=1",
    "CHECK=": "CHECK",
    "CHECK=ja": "CHECK",
    "INVENTORY=": "INVENTORY",
    "INVENTORY=nowhere": "inventories/nowhere",
}
FOR_PLAYBOOKS = {
    "CHECK=ja": "write CHECK=1",
    "CHECK=": "write CHECK=1",
    "CHECK=' '": "write CHECK=1",
    "CHECK=False": "write CHECK=1",
    "INVENTORY=": "write INVENTORY=production",
    "INVENTORY=nowhere": "demo development example production",
    "INVENTORY='demo production'": "one name",
    "INVENTORY=else/where": "there is no else/where",
    "TAG=v1.0.0": "does not take TAG",
}
# A shell, or make itself, would do something with these. They are refused before anything looks at them.
ACTIVE = (
    "$(shell touch pwned)",
    "$$(touch pwned)",
    "`touch pwned`",
    'a";touch pwned;"',
    "a\\",
    "a\ntouch pwned",
    "a' x=1",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place where nothing that would be done by mistake does harm."""
    directory = tmp_path_factory.mktemp("copy")
    for name in ("Makefile", "inventories", "requirements"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, directory / name)
    return directory


def make(directory: Path, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"], "HOME": str(directory), **environment}
    return subprocess.run(  # noqa: S602 - as somebody types it
        f"make {line}", shell=True, cwd=directory, env=known, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A copy that everybody may read; pytest's own directories are for their owner alone."""
    directory = Path(tempfile.mkdtemp())
    for name in ("Makefile", "requirements"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, directory / name)
    directory.chmod(0o755)
    yield directory
    subprocess.run(["chmod", "-R", "u+w", str(directory)], check=True)
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("locked", "said"),
    [
        (".cache", "sudo chown -R"),
        (".cache/setup.lock", "sudo chown -R"),
        (".venv", "sudo chown -R"),
        (".venv/bin", "sudo chown -R"),
        (".", "git clone"),
    ],
)
def test_what_belongs_to_somebody_else_is_told_with_the_way_out(foreign: Path, locked: str, said: str) -> None:
    """After a run with sudo, and in a read-only checkout. Root may write everywhere, so it is nobody who tries then."""
    for name in (".cache", ".venv", ".venv/bin"):
        (foreign / name).mkdir()
    (foreign / ".cache/setup.lock").touch()
    # Everybody may write all of it but what is locked.
    for path in (foreign, *foreign.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    (foreign / locked).chmod(0o555)
    nobody = 65534 if os.geteuid() == 0 else None
    done = subprocess.run(
        ["make", "setup"], cwd=foreign, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}, capture_output=True, text=True,
        timeout=280, check=False, user=nobody, group=nobody,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert "cannot create" not in done.stderr
    assert done.stderr.count("set-up:") == 2


def refused(directory: Path, line: str, said: str, **environment: str) -> None:
    before = sorted(directory.rglob("*"))
    done = make(directory, line, **environment)
    assert done.returncode == 2, (line, done.stdout, done.stderr)
    assert done.stdout == "", line
    assert said in done.stderr, (line, done.stderr)
    assert sorted(directory.rglob("*")) == before, line


@pytest.mark.parametrize("target", TARGETS)
def test_mistyped(copy: Path, target: str) -> None:
    for typed, said in FOR_ALL.items():
        refused(copy, f"{target} {typed}", said)
    refused(copy, f"{target} CHEK=1 --check elsewhere", "CHEK")
    refused(copy, f"--check {target}", "CHECK=1")
    refused(copy, target, "CHECK=1", MAKEFLAGS="n")


@pytest.mark.parametrize("target", TARGETS)
def test_options_of_other_targets(copy: Path, target: str) -> None:
    if target in PLAYBOOKS:
        for typed, said in FOR_PLAYBOOKS.items():
            refused(copy, f"{target} {typed}", said)
        for name in ("CHECK", "INVENTORY", "ARGS"):
            refused(copy, target, f"write {name} after make", **{name: "production"})
    else:
        refused(copy, f"{target} CHECK=1", f"{target} does not take CHECK")
        refused(copy, f"{target} INVENTORY=production", f"{target} does not take INVENTORY")


@pytest.mark.parametrize("option", ["INVENTORY", "LIMIT", "PLAN", "TAG", "CORE"])
def test_text_that_acts_is_refused(copy: Path, option: str) -> None:
    for text in ACTIVE:
        command = ["make", "-o", "setup", "maintain", f"{option}={text}"]
        path = {"PATH": os.environ["PATH"]}
        done = subprocess.run(command, cwd=copy, env=path, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 2
        assert f"{option} must have no $" in done.stderr, (text, done.stderr)
    assert not (copy / "pwned").exists()


def test_options_of_one_target(copy: Path) -> None:
    refused(copy, "maintain", "write PLAN=hourly")
    refused(copy, "maintain PLAN=", "PLAN is empty")
    refused(copy, "secrets ROTATE=maybe", "ROTATE is 1 or 0: write ROTATE=1")
    refused(copy, "hourly PLAN=weekly", "hourly does not take PLAN")
    refused(copy, "setup-dev CORE=2.9", "there is no ansible-core 2.9 here; there are 2.18 2.19 2.20 2.21")
    refused(copy, "maintain PLAN=hourly", "write LIMIT after make", LIMIT="one")


def test_a_limit_is_not_a_load(copy: Path) -> None:
    """make knows of -l with a number in recipes only; what comes before the recipe is left out here."""
    for target in PLAYBOOKS:
        done = make(copy, f"{'maintain PLAN=x' if target == 'maintain' else target} -o setup -l0")
        assert done.returncode == 2
        assert "ARGS='--limit" in done.stderr


def test_all_faults_at_once(copy: Path) -> None:
    said = make(copy, "hourly CHEK=1 production CHECK=ja --dry-run").stderr
    assert all(word in said for word in ("CHEK", "production", "CHECK is 1 or 0", "--dry-run"))


def test_every_target_is_listed_and_can_be_completed(copy: Path) -> None:
    phony = set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE))
    assert phony == set(TARGETS) >= set(PLAYBOOKS) >= {"hourly", "provision"}
    listed = make(copy, "").stdout
    assert all(re.search(rf"^  {target} ", listed, re.MULTILINE) for target in TARGETS)
    # What the completion of bash asks.
    database = make(copy, "-npq __BASH_MAKE_COMPLETION__=1 .DEFAULT").stdout
    assert all(f"\n{target}:" in database for target in TARGETS)


def test_what_is_right_goes_through(copy: Path) -> None:
    for typed in ("", "-s", "-k -j2", "--no-print-directory", "PYTHON=python3", "-w -B", "--trace"):
        done = make(copy, f"help {typed}", CHECK="1", INVENTORY="x", DATABASE_URL="x")
        assert (done.returncode, done.stderr) == (0, ""), typed
