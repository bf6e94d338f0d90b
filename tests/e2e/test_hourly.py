# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the README as somebody types them who has just cloned the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import documents
from tests.checkout import ROOT, Checkout
from tests.servers import Database, Server, Servers

README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")

# What the plan is about, and what of it has work to do in a first run of the demo.
TARGETS = {
    ("purge", "public.sessions"),
    ("refresh", "public.user_subscription_summary"),
    ("analyze", "public.users"),
    ("analyze", "public.user_subscriptions"),
    ("analyze", "public.sessions"),
}
# The purge has left dead rows in it, and indexes that are too large for what is left.
WEEKLY = {("vacuum", "public.sessions"), ("refresh", "public.user_subscription_summary")}
TABLES = {"public.users", "public.user_subscriptions", "public.sessions"}


def outcomes(actions: list[dict[str, Any]], outcome: str) -> set[tuple[str, str]]:
    return {(action["operation"], action["target"]) for action in actions if action["outcome"] == outcome}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A fresh checkout in a directory whose name has a space in it, removed together with its server."""
    fresh = Checkout(tmp_path_factory.mktemp("fresh checkout"))
    yield fresh
    fresh.command("make stop ARGS='-e embedded_postgres_state=absent'")


def told(output: str) -> list[str]:
    """Lines without numbers and without what aligns them."""
    return [
        " ".join(re.sub(r"\d[\d\u202f.]*( ms| s| min( \d+ s)?)?", "N", line).split()) for line in output.splitlines()
    ]


def is_told(shown: str, output: str) -> None:
    """Whether the output has all that a page shows; where its lines are broken depends on how long things took."""
    all_of_it = " ".join(told(output))
    missing = [line for line in told(shown) if line not in all_of_it and not line.startswith("N database")]
    assert not missing, output


def check_mode_predicts(checkout: Checkout) -> list[dict[str, Any]]:
    checkout.run("make hourly CHECK=1")
    planned = checkout.actions()
    assert outcomes(planned, "planned") == TARGETS
    return planned


def the_first_run_does_exactly_what_was_predicted(checkout: Checkout, planned: list[dict[str, Any]]) -> None:
    # A DATABASE_URL that lies about in the environment is not for the demo.
    stray = {
        "DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:9/elsewhere",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": "9",
    }
    first = checkout.command("make hourly", **stray)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "ignored DATABASE_URL PGHOSTADDR" in first.stderr
    assert "DATABASE_URL=... make hourly INVENTORY=production" in first.stderr
    done = checkout.actions()
    assert outcomes(done, "done") == TARGETS
    rows = {action["operation"]: action["rows"] for action in planned if action["rows"] is not None}
    assert rows["purge"] == next(action["rows"] for action in done if action["operation"] == "purge") > 30_000
    assert "secret" not in first.stdout + first.stderr
    (shown,) = re.findall(r"```\n(hourly on .*?)```", README, re.DOTALL)
    is_told(shown, first.stdout)


def the_second_run_changes_nothing_and_says_why(checkout: Checkout) -> None:
    second = checkout.command("make hourly")
    output = second.stdout
    assert "ignored" not in second.stderr
    actions = checkout.actions()
    assert outcomes(actions, "unchanged") == TARGETS, output
    assert len(output.splitlines()) <= 15, output
    assert [run["changed"] for run in checkout.runs()] == [False] * len(checkout.runs())
    assert all(action["reason"] for action in actions)
    assert "set-up:" not in output  # no pip


def the_weekly_plan_acts_once_as_predicted_and_then_says_why_not(checkout: Checkout) -> None:
    checkout.run("make weekly CHECK=1")
    planned = checkout.actions("weekly")
    assert outcomes(planned, "planned") >= WEEKLY
    output = checkout.run("make weekly")
    done = checkout.actions("weekly")
    (shown,) = re.findall(r"```\n(weekly on .*?)```", README, re.DOTALL)
    is_told(shown, output)
    order = [(action["operation"], action["target"]) for action in planned]
    assert [(action["operation"], action["target"]) for action in done] == order
    assert outcomes(done, "done") | {("refresh", "public.user_subscription_summary")} == outcomes(planned, "planned")
    assert {target for operation, target in outcomes(done, "unchanged") if operation == "vacuum"} == TABLES - {
        "public.sessions"
    }
    again = checkout.run("make weekly")
    actions = checkout.actions("weekly")
    # What is skipped is an index that is not rebuilt beside upserts.
    assert {action["outcome"] for action in actions} == {"unchanged", "skipped"}, again
    assert [run["changed"] for run in checkout.runs()] == [False] * len(checkout.runs())
    assert {(action["operation"], action["target"]) for action in actions} >= WEEKLY
    assert all(action["reason"] for action in actions)
    (shown,) = re.findall(r"```\n(weekly on .*?)```", OPERATIONS, re.DOTALL)
    is_told(shown, again)


def health_finds_that_all_is_well(checkout: Checkout) -> None:
    output = checkout.run("make health")
    (run,) = [run for run in checkout.runs() if run["plan"] == "health"]
    assert {one["level"] for one in run["findings"]} == {"info"}, output
    assert " checks  all well" in output


def a_quarter_is_invented_beside_what_is_real(checkout: Checkout) -> None:
    told = checkout.run("make demo-history")
    assert re.search(r"\b2[01]\d\d runs of the last 90 days were invented, 0 were replaced", " ".join(told.split())), (
        told
    )
    assert {one["outcome"] for one in checkout.actions("sql_object")} == {"unchanged"}
    assert "report/index.html" in checkout.run("make report")
    page = (checkout.directory / "report" / "index.html").read_text(encoding="utf-8")
    assert "Generated example" in page
    assert "All is well" in page
    assert len(page.encode()) < 300_000


def help_lists_every_target_of_the_readme(checkout: Checkout) -> None:
    listed = checkout.run("make help")
    for target in {target for target, *_ in documents.make_targets(ROOT / "README.md")}:
        assert re.search(rf"^  {target} ", listed, re.MULTILINE), target


def stop_stops_the_server(checkout: Checkout) -> None:
    checkout.run("make stop")
    assert "ok in" in checkout.run("make hourly")
    assert outcomes(checkout.actions(), "unchanged") | outcomes(checkout.actions(), "done") == TARGETS


def test_demo(checkout: Checkout) -> None:
    """A first visit, from beginning to end: what comes later stands on what came before."""
    planned = check_mode_predicts(checkout)
    the_first_run_does_exactly_what_was_predicted(checkout, planned)
    the_second_run_changes_nothing_and_says_why(checkout)
    the_weekly_plan_acts_once_as_predicted_and_then_says_why_not(checkout)
    a_quarter_is_invented_beside_what_is_real(checkout)
    health_finds_that_all_is_well(checkout)
    help_lists_every_target_of_the_readme(checkout)
    stop_stops_the_server(checkout)


@pytest.fixture(scope="module")
def server(servers: Servers) -> Server:
    """Apart from the tests that change settings of roles and databases, which would cost a refresh here."""
    return servers.shared("quiet")


class TestOwnDatabase:
    """The README's commands for a database of one's own."""

    def test_without_a_connection_string(self, checkout: Checkout) -> None:
        done = checkout.command("make hourly INVENTORY=production")
        assert done.returncode != 0
        assert "DATABASE_URL" in done.stdout + done.stderr

    def test_provision_check_run(self, checkout: Checkout, vtchat_database: Database) -> None:
        url = vtchat_database.dsn
        checkout.run("make provision INVENTORY=development", DATABASE_URL=url)
        expired = "SELECT count(*) FROM sessions WHERE expires_at <= now() AT TIME ZONE 'UTC'"
        ((before,),) = vtchat_database.sql(expired)
        checkout.run("make hourly INVENTORY=production CHECK=1", DATABASE_URL=url)
        planned = checkout.actions()
        assert vtchat_database.sql(expired) == [(before,)]
        assert vtchat_database.sql("SELECT count(*) FROM maintenance.run") == [(0,)]
        checkout.run("make hourly INVENTORY=production", DATABASE_URL=url)
        done = checkout.actions()
        assert outcomes(done, "done") == outcomes(planned, "planned") >= {("purge", "public.sessions")}
        assert vtchat_database.sql(expired) == [(0,)]
        checkout.run(".venv/bin/ansible-playbook -i inventories/production playbooks/hourly.yml", DATABASE_URL=url)
        assert outcomes(checkout.actions(), "unchanged") == TARGETS
        no_tokens = checkout.command(".venv/bin/ansible-playbook -i inventories/production playbooks/secrets.yml")
        assert no_tokens.returncode == 2
        for name in ("GITHUB_REPOSITORY", "DATABASE_URL", "GH_TOKEN", "FLY_API_TOKEN"):
            assert name in no_tokens.stdout
        vtchat_database.sql("DROP MATERIALIZED VIEW user_subscription_summary CASCADE")
        failed = checkout.command("make hourly INVENTORY=production ARGS=-v", DATABASE_URL=url)
        assert failed.returncode == 2
        assert "TASK [maintenance : Run the plan hourly]" in failed.stdout
        assert outcomes(checkout.actions(), "failed") == {("refresh", "user_subscription_summary")}
        assert outcomes(checkout.actions(), "unchanged") == TARGETS - {("refresh", "public.user_subscription_summary")}


def test_a_database_that_nobody_here_knows(checkout: Checkout, vtchat_database: Database) -> None:
    """The README's way in for a stranger: whatever is there, as a role that owns nothing."""
    role = vtchat_database.role("stranger")
    vtchat_database.sql(f"GRANT pg_maintain TO {role}; GRANT CREATE ON DATABASE {vtchat_database.name} TO {role}")
    vtchat_database.sql("CREATE SCHEMA other; CREATE TABLE other.t AS SELECT n FROM generate_series(1, 5000) AS n")
    vtchat_database.sql(f"GRANT USAGE ON SCHEMA other TO {role}")
    vtchat_database.sql("VACUUM other.t")
    vtchat_database.sql("DELETE FROM other.t WHERE n > 2000; SELECT pg_stat_force_next_flush()")
    vtchat_database.sql("SELECT 1")
    url = vtchat_database.dsn_as(role)
    checkout.run("make weekly INVENTORY=example CHECK=1", DATABASE_URL=url)
    planned = checkout.actions("weekly")
    assert outcomes(planned, "planned") >= {("vacuum", "other.t"), ("analyze", "public.users")}
    checkout.run("make weekly INVENTORY=example", DATABASE_URL=url)
    done = checkout.actions("weekly")
    assert outcomes(done, "done") == outcomes(planned, "planned")
    checkout.run("make weekly INVENTORY=example", DATABASE_URL=url)
    assert not outcomes(checkout.actions("weekly"), "done")
    checkout.run("make hourly INVENTORY=example", DATABASE_URL=url)
    assert not outcomes(checkout.actions(), "done")


def test_own_playbook(vtchat_database: Database, tmp_path: Path) -> None:
    """The README's example with the README's ansible.cfg, in a folder of its own."""
    (setting,) = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)
    (example,) = re.findall(r"```yaml\n(- name.*?)```", README, re.DOTALL)
    (tmp_path / "ansible.cfg").write_text(setting.replace("/path/to/the/checkout", str(ROOT)), encoding="utf-8")
    (tmp_path / "mine.yml").write_text(example, encoding="utf-8")
    vtchat_database.sql("CREATE MATERIALIZED VIEW user_subscription_summary AS SELECT user_id FROM user_subscriptions")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    known = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DATABASE_URL": vtchat_database.dsn,
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [program, "mine.yml"], cwd=tmp_path, env=known, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TASK [Purge, refresh, analyze]" in done.stdout
    assert "1 database: 5 done, 0 unchanged, 0 failed" in done.stdout


def test_every_command_of_the_readme_is_run_here() -> None:
    """A command that is added to the README needs a test; make test itself is what runs this one."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    inline = re.findall(r"`((?:make|ansible-|\.venv/)[^`]+)`", README)
    commands = {re.sub(r"^DATABASE_URL='[^']*' ", "", line) for line in "".join(blocks).splitlines()} | set(inline)
    source = Path(__file__).read_text(encoding="utf-8")
    missing = {command for command in commands if f'"{command}"' not in source} - {"make test"}
    assert not missing
