# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What continuous integration asks: which versions, whether a release may be made, which programs are there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import majors, matrix, release
from tests.checkout import ROOT

GALAXY = "namespace: vtchat\nversion: 1.2.0\n"
CHANGELOG = "# Changelog\n\n## 1.2.0 (2026-12-01)\n\nBetter.\n\n## 1.1.0 (2026-11-01)\n"


def test_the_matrix_has_all_that_is_supported() -> None:
    lines = subprocess.run(["make", "matrix"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    outputs = dict(line.split("=", 1) for line in lines)
    versions = json.loads(outputs["versions"])
    assert {int(one["postgresql"]) for one in versions} == set(majors.MAJORS)
    assert {one["core"] for one in versions} == set(matrix.PYTHONS) == {"2.18", "2.19", "2.20", "2.21"}
    assert len(versions) == len(majors.MAJORS) * len(matrix.PYTHONS) <= 256, "GitHub's limit"
    oldest = re.search(
        r"requires_ansible: '>=([0-9.]+)\.0'", (matrix.COLLECTION / "meta/runtime.yml").read_text(encoding="utf-8")
    )
    assert oldest
    assert oldest[1] == min(matrix.PYTHONS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    of_test = re.search(r"^test: (.*?) ##", makefile, re.MULTILINE)
    assert of_test
    beside = re.search(r"^BESIDE := (.*)$", makefile, re.MULTILINE)
    assert beside
    assert json.loads(outputs["stages"]) == [*of_test[1].split(), *beside[1].split()]


def test_locks_of_ansible_core_have_the_release_that_their_name_says() -> None:
    for core in matrix.PYTHONS:
        lock = (ROOT / f"requirements/core/{core}.txt").read_text(encoding="utf-8")
        assert re.search(rf"^ansible-core=={re.escape(core)}\.\d+ ", lock, re.MULTILINE)
        assert lock.count("--hash=sha256:") >= lock.count("==")


@pytest.mark.parametrize(
    ("tag", "galaxy", "changelog", "said"),
    [
        ("v1.2.0", GALAXY, CHANGELOG, []),
        (
            "v1.2.1",
            GALAXY,
            CHANGELOG,
            ["the tag is v1.2.1, and galaxy.yml has the version 1.2.0: tag v1.2.0, or change galaxy.yml"],
        ),
        ("v1.2.0", GALAXY, CHANGELOG.replace("2026-12-01", "unreleased"), ["CHANGELOG.md says 1.2.0 (unreleased)"]),
        ("v1.3.0", GALAXY.replace("1.2.0", "1.3.0"), CHANGELOG, ["CHANGELOG.md has no section ## 1.3.0 (date)"]),
        ("v1.1.0", GALAXY.replace("1.2.0", "1.1.0"), CHANGELOG, ["CHANGELOG.md has 1.2.0 before 1.1.0"]),
        ("v9", "", "", ["the tag is v9", "CHANGELOG.md has no section"]),
    ],
)
def test_a_release(tag: str, galaxy: str, changelog: str, said: list[str]) -> None:
    faults = release.faults(tag, galaxy, changelog)
    assert len(faults) == len(said)
    assert all(fault.startswith(text) for fault, text in zip(faults, said, strict=True)), faults


SERVICES = ("promtool", "prometheus-node-exporter", "prometheus-pushgateway")


def packages(directory: Path, programs: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run packages.sh where only these programs exist."""
    there = directory / "bin"
    there.mkdir(exist_ok=True)
    for name in ("sh", "id", *programs):
        (there / name).unlink(missing_ok=True)
        (there / name).symlink_to(shutil.which(name) or "/bin/true")
    # Where Debian keeps programs for administrators, there may be one of these.
    script = (ROOT / "tests/packages.sh").read_text(encoding="utf-8").replace(":/usr/sbin:/sbin", "")
    command = [str(there / "sh"), "-c", script]
    return subprocess.run(command, env={"PATH": str(there), **environment}, capture_output=True, text=True, check=False)


def test_programs_of_tests(tmp_path: Path) -> None:
    all_of_them = ["pgbouncer", "gh", "npm", "ip", "curl", "check_postgres", "chromium", "chromedriver", *SERVICES]
    assert packages(tmp_path, all_of_them, CI="true").returncode == 0
    for program, named in (("promtool", " prometheus"), ("gh", " gh prometheus")):
        (tmp_path / "bin" / program).unlink()
        at_home = packages(tmp_path, [])
        said = f"packages: without{named}, the tests that need them are skipped\n"
        assert (at_home.returncode, at_home.stderr) == (0, said)
        in_ci = packages(tmp_path, [], CI="true")
        assert in_ci.returncode == 1
        assert f"missing{named}, " in in_ci.stderr


def test_the_programs_are_installed_where_that_is_allowed(tmp_path: Path) -> None:
    """With sudo that asks nothing, as on a runner of GitHub, or as root."""
    (tmp_path / "bin").mkdir()
    log = tmp_path / "log"
    (tmp_path / "bin/mktemp").write_text(f"#!{shutil.which('sh')}\necho {tmp_path}/folder", encoding="utf-8")
    (tmp_path / "bin/mktemp").chmod(0o755)
    (tmp_path / "folder/usr/bin").mkdir(parents=True)
    for name in ("sudo", "apt-get", "env", "dpkg", "cp", "rm"):
        words = '"$@"' if name == "sudo" else 'echo "$0 $*" >>' + str(log)
        start = "shift\n" if name == "sudo" else ""
        (tmp_path / "bin" / name).write_text(f"#!{shutil.which('sh')}\n{start}{words}\n", encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    done = packages(tmp_path, ["true", "npm", "ip", "curl", "check_postgres", "chromium", "chromedriver"], CI="true")
    assert done.returncode == 0, done.stderr
    assert "apt-get install -y -qq --no-install-recommends pgbouncer gh\n" in log.read_text(encoding="utf-8")
    unpacked = "prometheus prometheus-node-exporter prometheus-pushgateway"
    assert f"apt-get -o APT::Sandbox::User=root download -qq {unpacked}\n" in log.read_text(encoding="utf-8")
    assert f"cp {' '.join(SERVICES)} /usr/local/bin\n" in log.read_text(encoding="utf-8")


def beside(directory: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    (directory / "Makefile").write_text(
        "good:\n\t@echo good begins; echo good ends\nbad:\n\t@echo it is bad >&2; exit 3\nlast:\n\t@echo last\n",
        encoding="utf-8",
    )
    command = ["sh", str(ROOT / "tests/beside.sh"), *targets]
    known = {"PATH": os.environ["PATH"], "TMPDIR": str(directory)}
    return subprocess.run(command, cwd=directory, env=known, capture_output=True, text=True, timeout=60, check=False)


def test_stages_at_once_say_what_they_say_one_after_the_other(tmp_path: Path) -> None:
    well = beside(tmp_path, "good", "last")
    assert (well.returncode, well.stdout, well.stderr) == (0, "good begins\ngood ends\nlast\n", "")
    ill = beside(tmp_path, "bad", "good", "last")
    assert ill.returncode == 1
    assert ill.stderr == "failed: bad\n"
    assert "it is bad" in ill.stdout
    assert ill.stdout.endswith("good begins\ngood ends\nlast\n")
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"], "nothing is left"
