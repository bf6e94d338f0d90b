# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workflow that provisions, executed: a review of a pull request, also of a stranger's, and what a push changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.checkout import ROOT
from tests.servers import Database, Server
from tests.workflows import hub, real
from tests.workflows.hub import Environment
from tests.workflows.site import Site

CHANGED = "sql/functions/cleanup_expired_sessions.sql"
TEXT = (ROOT / CHANGED).read_text(encoding="utf-8")
# What could end the block that the difference is shown in, or be a command of the runner
HOSTILE = "/*\n  ::error::injected\n##[error]injected\n```\n</details><img src=x>\n*/ LIMIT 40000"
LIMIT = "SELECT prosrc ~ 'LIMIT 40000' FROM pg_proc WHERE proname = 'cleanup_expired_sessions'"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A checkout that all tests of this file share, with the demo's server of the reviews."""
    directory = tmp_path_factory.mktemp("runner")
    made = Site(real.checkout(directory / "work"), directory)
    yield made
    made.checkout.command("make stop ARGS='-e embedded_postgres_state=absent'")


def test_review_shows_a_strangers_change_on_a_server_of_its_own(site: Site) -> None:
    github = site.actions()
    secret = {"DATABASE_URL": "postgresql://production:PASSzq7@db.example.com/app"}
    github.repository.secrets = secret
    github.repository.environments = {name: Environment(secret) for name in ("development", "production-provisioning")}
    proposed = TEXT.replace("LIMIT 50000", HOSTILE)
    github.repository.commits = {hub.COMMIT: {}, hub.PROPOSED: {CHANGED: proposed}}
    run = github.run(
        real.PROVISION,
        hub.pull_request([CHANGED], fork=True, title=f"$(touch {site.directory}/title)", head="`touch head`"),
    )
    assert run is not None
    assert run.ran == ["review"]
    job = run.job("review")
    assert (job.result, job.environment, job.told("error")) == ("success", "", [])
    shown = job.step("Show what would change").summary
    assert "planned" in shown
    assert "public.cleanup_expired_sessions()" in shown
    assert "+" in shown
    assert "LIMIT 40000" in shown, "the difference is in the summary"
    outside = re.sub(r"^(`{3,})diff$.*?^\1$", "", shown, flags=re.DOTALL | re.MULTILINE)
    assert "<img" in shown
    assert "<img" not in outside, "what is in a block of code is no markup"
    assert outside.count("<details>") == outside.count("</details>") == 1
    assert not list(site.directory.rglob("title")) + list(site.directory.rglob("head"))
    # Nothing is left that runs
    assert job.orphans == []
    assert not (site.checkout.directory / ".embedded" / "data" / "postmaster.pid").exists()


def test_review_of_what_does_not_work_is_red(site: Site) -> None:
    github = site.actions()
    github.repository.commits = {hub.COMMIT: {}, hub.PROPOSED: {CHANGED: TEXT.replace("SELECT id", "SELECT idd")}}
    run = github.run(real.PROVISION, hub.pull_request([CHANGED], fork=True))
    assert run is not None
    job = run.job("review")
    assert (job.result, run.ran) == ("failure", ["review"])
    assert job.step("Show what would change").outcome == "failure"
    assert any("idd" in message for message in job.told("error"))
    assert job.step("Stop the server").outcome == "success"
    assert job.orphans == []


def test_push_changes_development_and_then_production_and_a_failure_stops_in_between(
    site: Site, server: Server
) -> None:
    databases = [server.create_database(server.vtchat_template()) for _name in range(2)]
    try:
        first, second = databases
        site.environments = {
            "development": Environment({"DATABASE_URL": first.dsn}),
            "production-provisioning": Environment({"DATABASE_URL": second.dsn}),
        }
        push = hub.push(changed=[CHANGED])
        first.sql("CREATE VIEW user_subscription_summary AS SELECT 1 AS id")
        run = site.run(real.PROVISION, push)
        assert [(job.id, job.result) for job in run.jobs][1:] == [("development", "failure"), ("production", "skipped")]
        assert _objects(second) == 0
        first.sql("DROP VIEW user_subscription_summary")
        first.close_connection()
        run = site.run(real.PROVISION, push)
        assert [(job.id, job.result) for job in run.jobs][1:] == [("development", "success"), ("production", "success")]
        assert [job.environment for job in run.jobs][1:] == ["development", "production-provisioning"]
        assert _objects(first) == _objects(second) == 3
    finally:
        for database in databases:
            database.close()


def _objects(database: Database) -> int:
    names = ["cleanup_expired_sessions", "get_database_health_stats", "refresh_subscription_summary"]
    found: int = database.value("SELECT count(*) FROM pg_proc WHERE proname = ANY (%s)", [names])
    return found
