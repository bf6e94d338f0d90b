# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The maintenance as GitHub runs it, executed: every trigger, and what can go wrong with each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.sql import SQL, Identifier

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_sql import LOCK_KEYS
from tests import runs
from tests.servers import Database, Server, free_port
from tests.workflows import real
from tests.workflows.hub import Event
from tests.workflows.records import Job, Run
from tests.workflows.shell import Cancel
from tests.workflows.site import PASSWORD, Site, by_hand, history, provisioned, url

MAINTENANCE = "production / maintenance"
HEALTH = "production / health"
# Nobody waits half a minute for a server that is down
IMPATIENT = "maintenance_connect_deadline: 1\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The checkout that all tests of this file share."""
    directory = tmp_path_factory.mktemp("runner")
    made = Site(real.checkout(directory / "work"), directory)
    settings = made.checkout.directory / "inventories/production/group_vars/production/impatient.yml"
    settings.write_text(IMPATIENT, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def template(server: Server, checkout: Site) -> Iterator[Database]:
    """A database with VTChat's objects; it has never been maintained."""
    database = provisioned(server, checkout)
    yield database
    database.close()


@pytest.fixture
def database(server: Server, template: Database) -> Iterator[Database]:
    """One like it for each test."""
    made = server.create_database(template.name)
    yield made
    made.close()


@pytest.fixture
def site(checkout: Site, database: Database) -> Site:
    """GitHub with that database as production."""
    return Site(checkout.checkout, checkout.directory, secrets={"DATABASE_URL": database.dsn})


def maintenance(run: Run) -> Job:
    return run.job(MAINTENANCE)


def test_hourly_trigger_does_what_is_due_and_the_next_one_finds_it_done(site: Site, database: Database) -> None:
    first = maintenance(site.maintain(real.HOURLY))
    assert (first.result, first.told("error")) == ("success", [])
    assert (first.environment, first.deployment) == ("production", False)
    assert "| done | purge | public.sessions | 3 000 rows |" in first.summary.replace("\u202f", " ")
    # Nothing is known of an earlier weekly run, and it is not its hour: only the hourly plan has been run
    done = history(database)
    assert ("hourly", "ok") in done
    second = maintenance(site.maintain(real.HOURLY))
    assert second.result == "success"
    assert "not due" in second.summary
    assert history(database) == done
    # By hand it runs in any case
    third = maintenance(site.maintain(by_hand("hourly")))
    assert third.result == "success"
    assert history(database) == [*done, ("hourly", "ok")]


def test_weekly_run_that_was_missed_is_caught_up_by_the_next_hourly_trigger(site: Site, database: Database) -> None:
    for plan in ("hourly", "weekly"):
        maintenance(site.maintain(by_hand(plan)))
    database.sql("UPDATE maintenance.run SET started_at = started_at - interval '8 days'")
    database.close_connection()
    late = maintenance(site.maintain(real.HOURLY))
    assert late.result == "success"
    assert [plan for plan, _status in history(database)] == ["hourly", "weekly", "hourly", "weekly"]


def test_check_mode_changes_nothing(site: Site, database: Database) -> None:
    job = maintenance(site.maintain(by_hand("hourly", check=True)))
    assert job.result == "success"
    assert "check mode, nothing was changed" in job.summary
    assert database.value("SELECT count(*) FROM sessions") == 9000
    assert history(database) == []


@pytest.mark.parametrize("event", [real.HOURLY, by_hand("hourly")], ids=["schedule", "by hand"])
def test_second_workflow_at_the_same_time_ends_green_and_says_so(site: Site, database: Database, event: Event) -> None:
    with database.connect().cursor() as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", LOCK_KEYS)
        job = maintenance(site.maintain(event))
    assert (job.result, job.told("error")) == ("success", [])
    assert "skipped" in job.summary
    assert "another run" in job.summary


def test_missing_secret(site: Site) -> None:
    site.secrets = {}
    job = maintenance(site.maintain(real.HOURLY))
    assert job.result == "failure"
    assert any("set PRODUCTION_DATABASE_URL, or DATABASE_URL" in message for message in job.told("error"))
    assert "set PRODUCTION_DATABASE_URL, or DATABASE_URL" in job.summary
    assert "Traceback" not in job.output


def test_wrong_secret(site: Site, database: Database) -> None:
    role = database.role("maintainer", password=PASSWORD)
    site.secrets = {"DATABASE_URL": url(role, PASSWORD + "x", database.server.port, database.name)}
    job = maintenance(site.maintain(by_hand()))
    assert job.result == "failure"
    assert job.step("Maintain").exit_code == 2
    assert f'password authentication failed for user "{role}"' in job.summary
    assert [message for message in job.told("error") if "password authentication failed" in message]


def test_database_that_is_down(site: Site, database: Database) -> None:
    site.secrets = {"DATABASE_URL": url("maintainer", PASSWORD, free_port(), database.name)}
    job = maintenance(site.maintain(real.HOURLY))
    assert job.result == "failure"
    assert "cannot connect" in job.summary
    assert len([message for message in job.told("error") if "cannot connect" in message]) == 2


def test_failed_step_does_not_stop_the_others(site: Site, database: Database) -> None:
    database.sql("DROP MATERIALIZED VIEW user_subscription_summary CASCADE")
    job = maintenance(site.maintain(by_hand()))
    assert job.result == "failure"
    assert job.told("error")[0].startswith(
        "refresh failed: user_subscription_summary on vtchat_production: there is no"
    )
    assert job.summary.index("**failed** | refresh") < job.summary.index("done | analyze")
    assert history(database) == [("hourly", "partial")] or history(database) == [("hourly", "failed")]


def test_names_in_the_database_are_text_wherever_they_are_shown(site: Site, database: Database) -> None:
    hostile = (
        "x'; ::error::injected\n::error::injected\r##[error]injected `$(touch /tmp/injected)` | <b> [a](b) @octocat"[
            :60
        ]
    )
    database.sql(SQL("ALTER INDEX idx_sessions_expires_at RENAME TO {}").format(Identifier(hostile)))
    job = maintenance(site.maintain(by_hand("weekly")))
    assert job.result == "success"
    assert not [message for message in job.told("error") if message.startswith("injected")]


def test_cancelled_run_leaves_nothing_that_goes_on(site: Site, database: Database, tmp_path: Path) -> None:
    """The runner ends the shell, then what it has started; the server ends what nobody waits for any more."""
    database.sql("CREATE FUNCTION slowly() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(60)'")
    database.sql("DROP MATERIALIZED VIEW user_subscription_summary CASCADE")
    database.sql("CREATE MATERIALIZED VIEW user_subscription_summary AS SELECT public.slowly() WITH NO DATA")
    working = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    run = site.maintain(by_hand(), Cancel("Maintain", lambda: bool(database.value(working)), (0.3, 0.3, 0.3)))
    assert [(job.id, job.result) for job in run.jobs] == [(MAINTENANCE, "cancelled"), (HEALTH, "skipped")]
    runs.until(lambda: not database.value(working), seconds=15)
    assert (
        database.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s", [LOCK_KEYS[0]])
        == 0
    )
    database.sql("CREATE OR REPLACE FUNCTION slowly() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    assert maintenance(site.maintain(by_hand())).result == "success"
    assert history(database) == [("hourly", "abandoned"), ("hourly", "ok")]
