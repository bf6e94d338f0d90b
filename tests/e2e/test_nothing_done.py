# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A playbook of ours that did nothing is a failure, whatever the cause."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from tests.checkout import ROOT, Checkout

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
# Nobody listens there: whatever does go on is seen.
NOWHERE = "postgresql://u@127.0.0.1:1/d"
OTHER_HOST = (
    "{databases: {hosts: {one: {ansible_connection: local}}}, other: {hosts: {two: {ansible_connection: local}}}}"
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("above") / "maintenance")


def nothing_done(checkout: Checkout, line: str, said: str, folder: Path | None = None) -> None:
    done = checkout.command(f"{'cd ..;' if folder else ''} '{ANSIBLE}' {line}", DATABASE_URL=NOWHERE)
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, output
    assert "Nothing was done" in output, output
    assert said in output, output


@pytest.mark.parametrize(
    ("name", "playbook", "inventory"),
    [
        ("maintenance", "hourly", "production"),
        ("embedded_postgres", "embedded", "demo"),
    ],
)
def test_the_checkout_is_taken_for_a_role(checkout: Checkout, name: str, playbook: str, inventory: str) -> None:
    """Ansible looks for roles in the current directory last."""
    checkout.directory = checkout.directory.rename(checkout.directory.with_name(name))
    line = f"-i {name}/inventories/{inventory} {name}/playbooks/{playbook}.yml"
    nothing_done(checkout, line, "root of the checkout", checkout.directory.parent)


def test_no_host_is_left(checkout: Checkout) -> None:
    (checkout.directory / "empty.yml").write_text("databases:\n", encoding="utf-8")
    (checkout.directory / "mistyped.yml").write_text("database: {hosts: {one: }}\n", encoding="utf-8")
    (checkout.directory / "other.yml").write_text(OTHER_HOST, encoding="utf-8")
    nothing_done(checkout, "-i empty.yml playbooks/hourly.yml", "no host is left in databases")
    nothing_done(checkout, "-i mistyped.yml playbooks/provision.yml", "no host is left in databases")
    nothing_done(checkout, "-i other.yml playbooks/hourly.yml --limit two", "--limit is two")
    nothing_done(checkout, "-i inventories/production playbooks/embedded.yml", "no host is left in embedded")
    secrets = "-i inventories/production playbooks/secrets.yml --limit vtchat_production"
    nothing_done(checkout, secrets, "no host is left in localhost")


def test_mistyped_tags(checkout: Checkout) -> None:
    nothing_done(checkout, "-i inventories/production playbooks/provision.yml --tags functons", "tags")


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_every_playbook_ends_with_a_look_at_what_was_done(path: Path) -> None:
    """Also those that are added later."""
    if path.stem in ("expect", "demo"):  # parts of the others
        return
    last = yaml.safe_load(path.read_text(encoding="utf-8"))[-1]
    if last.get("ansible.builtin.import_playbook") == "maintain.yml":  # which is one of these
        return
    assert last.get("ansible.builtin.import_playbook") == "expect.yml"
    assert set(last["vars"]) == {"expected_hosts", "expected_results"}
