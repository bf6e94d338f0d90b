# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands in the documentation work as they stand there; those of the README are run in test_hourly."""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.vtchat.maintenance.plugins.module_utils._operations import OPERATIONS
from tests import documents, screenshots
from tests.checkout import ROOT, Checkout
from tests.servers import Database

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_name_their_program_their_inventory_and_where_they_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    calls = [line for line in documents.commands(page) if re.search(r"ansible-(playbook|vault|doc)\S* ", line)]
    for line in calls:
        assert re.search(r"(^|[='… ])\.venv/bin/ansible-", line), line
        assert " -i inventories/" in line or "ansible-playbook" not in line, line
        for path in re.findall(r"(?:playbooks|inventories)/[a-z]+(?:\.yml)?", line):
            assert (ROOT / path).exists(), line
    assert not calls or re.search(r"from\s+the\s+root\s+of\s+the\s+checkout", text)


def test_pictures_are_there_small_enough_and_told_to_who_does_not_see_them() -> None:
    shown: dict[Path, str] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text)
        pictures += [(alt, file) for file, alt in re.findall(r'<img src="([^"]+)"[^>]*? alt="([^"]*)"', text)]
        assert len(pictures) == len(re.findall(r"!\[|<img ", text)), page
        shown |= {(page.parent / file).resolve(): alt for alt, file in pictures}
    taken = {screenshots.IMAGES / f"{picture.name}.png": picture for picture in screenshots.PICTURES}
    assert set(shown) == set(taken) == set(screenshots.IMAGES.iterdir())
    for path, picture in taken.items():
        image = path.read_bytes()
        assert image.startswith(b"\x89PNG")
        assert struct.unpack(">II", image[16:24]) == picture.size, "run: make screenshots"
        assert len(image) <= screenshots.MOST
        assert len(shown[path]) > 50


def test_make_knows_what_the_pages_type() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z-]*):.*## ", makefile, re.MULTILINE)
    options = re.findall(r"^OPTIONS := (.*)$", makefile, re.MULTILINE)[0].split()
    typed = [words for page in PAGES for words in documents.make_targets(page)]
    assert len(typed) > 5
    for target, *more in typed:
        assert target in targets
        assert {one.partition("=")[0] for one in more} <= set(options), target


def test_the_maintainer_of_ones_own_tables(database: Database, tmp_path: Path) -> None:
    """As documented: without VTChat's objects, the GRANTs first, then the role, then nothing to do."""
    name = database.role("maintainer")
    database.sql(f"DROP ROLE {name}; CREATE TABLE visits (at timestamptz); CREATE INDEX ON visits (at)")
    checkout = Checkout(tmp_path / "checkout")
    (checkout.directory / ".venv").symlink_to(Path(sys.prefix))
    plan = {"hourly": {"steps": [{"purge": {"table": "visits", "column": "at"}}]}}
    own = {"maintenance_plans": plan, "database_roles_enabled": True, "database_roles_maintainer": name}
    (checkout.directory / "own.json").write_text(json.dumps(own), encoding="utf-8")
    documented = [line for line in documents.commands(ROOT / "docs" / "operations.md") if "--tags roles" in line]
    check, run = sorted(documented, key=len, reverse=True)[:2]
    exists = f"SELECT count(*) FROM pg_roles WHERE rolname = '{name}'"
    for line, roles, changed in ((check, 0, True), (run, 1, True), (run, 1, False)):
        checkout.run(f"{line} -e @own.json", DATABASE_URL=database.dsn)
        assert database.value(exists) == roles, line
        assert [run["changed"] for run in checkout.runs()] == [changed], line


@pytest.mark.parametrize("name", documents.PAGES)
def test_pages_that_are_made_from_the_source_are_up_to_date(name: str) -> None:
    assert documents.PAGES[name]() == (documents.DOCS / name).read_text(encoding="utf-8"), "run: make docs"


def test_the_example_of_the_checks_is_right() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", documents.checks_page(), re.DOTALL)
    (step,) = yaml.safe_load(block)
    assert OPERATIONS["health_info"].read(step["health_info"])
