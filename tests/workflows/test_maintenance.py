# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The maintenance as GitHub runs it, executed: every trigger, what can go wrong with each, and who is told."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from ansible_collections.vtchat.maintenance.plugins.module_utils._engine.history_sql import LOCK_KEYS
from tests import runs
from tests.doubles.github import GitHub
from tests.doubles.monitor import KEY, Monitor
from tests.doubles.webhook import Hooks
from tests.servers import Database, Server
from tests.workflows import hub, real
from tests.workflows.hub import Event
from tests.workflows.records import Job, Run
from tests.workflows.shell import Cancel
from tests.workflows.site import PASSWORD, Site, by_hand, github, history, provisioned, url

MAINTENANCE = "production / maintenance"
HEALTH = "production / health"
LOOK = "Look at the database, and tell"
REPORT = "Make the report"
UNREACHABLE = "critical: unreachable on vtchat_production"
OVERDUE = "critical: maintenance-overdue on vtchat_production"
# Nobody waits half a minute for a server that is down
# A port on which nobody listens.
CLOSED = 9


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The checkout that all tests of this file share."""
    directory = tmp_path_factory.mktemp("runner")
    return Site(real.checkout(directory / "work"), directory)


@pytest.fixture(scope="module")
def template(server: Server, shared: Site) -> Iterator[Database]:
    """A database with VTChat's objects; it has never been maintained."""
    database = provisioned(server, shared.checkout)
    yield database
    database.close()


@pytest.fixture
def database(server: Server, template: Database) -> Iterator[Database]:
    """One like it for each test."""
    made = server.create_database(template.name)
    yield made
    made.close()


@pytest.fixture
def api() -> Iterator[GitHub]:
    """GitHub's API."""
    yield from github()


@pytest.fixture
def site(shared: Site, database: Database, api: GitHub) -> Site:
    """GitHub with that database as production, and both jobs executed, but for the page that two tests look at."""
    made = Site(shared.checkout, shared.directory, api, secrets={"DATABASE_URL": database.dsn})
    made.shell["pretended"] = (REPORT,)
    return made


@pytest.fixture
def half(site: Site) -> Site:
    """The same, without looking at the database afterwards, for tests of the maintenance alone."""
    site.shell["pretended"] = (LOOK, REPORT)
    return site


@contextmanager
def impatient(site: Site) -> Iterator[None]:
    """Nobody waits long for a server that is down."""
    settings = site.checkout.directory / "inventories/production/group_vars/production/impatient.yml"
    settings.write_text("maintenance_connect_deadline: 1\n", encoding="utf-8")
    try:
        yield
    finally:
        settings.unlink()


def maintenance(run: Run) -> Job:
    return run.job(MAINTENANCE)


def results(run: Run) -> list[str]:
    """How maintenance and health went."""
    return [run.job(name).result for name in (MAINTENANCE, HEALTH)]


def junit(run: Run) -> tuple[int, int]:
    """How many checks are not well, and how many results there are none of, by the artifact."""
    root = ElementTree.fromstring(run.artifacts["health-production"].files["health.xml"])  # noqa: S314 - of our own making
    return int(root.get("failures", 0)), int(root.get("errors", 0))


def wait_a_week(database: Database) -> None:
    """What the history knows was eight days ago."""
    database.sql("UPDATE maintenance.run SET started_at = started_at - interval '8 days', "
                 "finished_at = finished_at - interval '8 days'")  # fmt: skip
    database.close_connection()


def hostile_index(database: Database) -> None:
    """An index that is not valid, with a name that could be a command, markup, or a call to somebody."""
    name = "a\n::error::injected\r##[error]injected <img> [a](b) `c` @octocat"
    database.sql(SQL("CREATE INDEX {} ON sessions (id)").format(Identifier(name)))
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
                 "(SELECT oid FROM pg_class WHERE relname = %s)", [name])  # fmt: skip
    database.close_connection()


def test_each_trigger_does_what_is_due_and_nothing_twice(half: Site, database: Database) -> None:
    first = maintenance(half.maintain(real.HOURLY))
    assert (first.result, first.environment, first.deployment, first.told("error")) == (
        "success",
        "production",
        False,
        [],
    )
    assert "### [PostgreSQL maintenance](https://github.com/vtchat/maintenance/actions/runs/" in first.summary
    # After an hour some more have expired.
    assert re.search(r"\| done \| purge \| public\.sessions \| 3 0\d\d rows \|", first.summary.replace("\u202f", " "))
    done = [("hourly", "ok"), ("weekly", "ok")]
    assert history(database) == done, "no weekly run is known since the last Sunday"
    second = maintenance(half.maintain(real.WEEKLY))
    assert second.result == "success"
    assert second.summary.count("not due") == 2
    assert history(database) == done
    assert maintenance(half.maintain(by_hand("weekly"))).result == "success"
    assert history(database) == [*done, ("weekly", "ok")], "by hand it runs in any case"
    wait_a_week(database)
    late = maintenance(half.maintain(real.HOURLY))
    assert late.result == "success"
    assert "ok 2 of the last 2; median" in late.summary, "the trend of the weekly plan"
    assert history(database)[3:] == done, "what was missed is caught up"


def test_somebody_is_told_when_it_changes_and_by_all_channels(site: Site, database: Database) -> None:
    """The server is down, comes back, and is then forgotten by the scheduler for a week."""
    with closing(Hooks()) as hooks, closing(Monitor()) as monitor:
        site.secrets["MAINTENANCE_PING_URL"] = f"{monitor.url}/{KEY}/{{plan}}"
        site.secrets["ALERT_WEBHOOK_URL"] = hooks.address("slack")
        site.variables["ALERT_WEBHOOK_FORMAT"] = "slack"
        site.secrets["DATABASE_URL"] = url("maintainer", PASSWORD, CLOSED, database.name)
        with impatient(site):
            down = site.maintain(real.HOURLY)
        assert results(down) == ["failure", "failure"]
        assert maintenance(down).step("Maintain").exit_code == 2
        assert len([one for one in maintenance(down).told("error") if "cannot connect" in one]) == 2
        assert all("cannot connect" in job.summary for job in down.jobs)
        assert UNREACHABLE in site.issues()
        assert "cannot connect" in hooks.got["slack"][0]["text"] + str(hooks.got["slack"][0]["blocks"])
        assert monitor.heard()[-1] == "weekly/fail"
        assert junit(down) == (0, 1)

        site.secrets["DATABASE_URL"] = database.dsn
        back = site.maintain(real.HOURLY)
        assert (results(back), back.job(HEALTH).told("error")) == (["success", "success"], [])
        assert site.issues() == {}
        assert len(site.issues("closed")) == 1
        assert len(hooks.got["slack"]) == 2
        assert monitor.heard()[-4:] == ["hourly/start", "hourly", "weekly/start", "weekly"]

        wait_a_week(database)
        hostile_index(database)
        critical = site.maintain(by_hand("health"))
        assert [(job.id, job.result) for job in critical.jobs] == [(MAINTENANCE, "skipped"), (HEALTH, "failure")]
        job = critical.job(HEALTH)
        assert any(message.startswith("maintenance-overdue critical: hourly") for message in job.told("error"))
        assert "| **critical** | maintenance-overdue | hourly |" in job.summary
        assert junit(critical)[0] >= 1
        assert site.issues()[OVERDUE].labels == ["database-maintenance"]
        assert job.permissions == {"contents": "read", "issues": "write"}
        told = len(hooks.got["slack"])
        assert any("injected" in message for message in job.told("warning") + job.told("error"))
        assert not [message for message in job.told("warning") + job.told("error") if message.startswith("injected")]
        assert not [text for text in ("<img", "[a](b)", "`c`", "\n::", " @octocat") if text in job.summary]

        caught_up = site.maintain(real.HOURLY)
        assert results(caught_up) == ["success", "success"]
        assert OVERDUE not in site.issues()
        assert len(hooks.got["slack"]) > told


def test_report_of_a_week_is_kept_and_linked(site: Site) -> None:
    """It is made after the weekly plan; and where it cannot be made, that is said."""
    site.shell["pretended"] = (LOOK,)
    folder = site.checkout.directory / "report"
    first = site.maintain(real.HOURLY)
    assert results(first) == ["success", "success"]
    kept = first.artifacts["report-production"].files
    assert kept.keys() == {"index.html"}
    assert b"<title>" in kept["index.html"]
    assert "[Report](https://github.com/vtchat/maintenance/actions/runs/1/artifacts/" in first.job(HEALTH).summary
    shutil.rmtree(folder)  # each machine is a new one
    second = site.maintain(real.HOURLY)
    assert REPORT not in second.job(HEALTH).ran
    folder.write_text("a file where its folder is to be", encoding="utf-8")
    try:
        third = site.maintain(by_hand("health"))
    finally:
        folder.unlink()
    job = third.job(HEALTH)
    assert (job.result, job.step(REPORT).outcome) == ("success", "failure")
    assert job.told("error")
    assert "There is no report of this run" in job.summary
    assert "report-production" not in third.artifacts


def test_report_is_published_where_somebody_wants_it_to_be(site: Site) -> None:
    site.shell.clear()
    actions = site.actions()
    actions.repository.variables = {"REPORT_PAGES": "public"}
    run = actions.run(real.PAGES, hub.dispatch())
    assert run is not None
    assert [(job.id, job.result, job.environment) for job in run.jobs] == [
        ("report", "success", "production"),
        ("pages", "success", "github-pages"),
    ]
    assert run.artifacts["github-pages"].files.keys() == {"index.html"}
    assert run.job("pages").permissions == {"pages": "write", "id-token": "write"}


def test_channel_that_is_down_does_not_make_the_run_red(site: Site, api: GitHub) -> None:
    site.secrets["ALERT_WEBHOOK_URL"] = f"http://127.0.0.1:{CLOSED}/hook"
    api.issues.switched_off.add(real.NAME)
    run = site.maintain(by_hand())
    assert results(run) == ["success", "success"]


def test_missing_secret(site: Site) -> None:
    site.secrets = {}
    run = site.maintain(real.HOURLY)
    assert results(run) == ["failure", "failure"]
    for job in run.jobs:
        assert any("set PRODUCTION_DATABASE_URL, or DATABASE_URL" in message for message in job.told("error"))
        assert "set PRODUCTION_DATABASE_URL, or DATABASE_URL" in job.summary
        assert "Traceback" not in job.output
    assert UNREACHABLE in site.issues()


def test_wrong_secret(half: Site, database: Database) -> None:
    role = database.role("maintainer", password=PASSWORD)
    half.secrets = {"DATABASE_URL": url(role, PASSWORD + "x", database.server.port, database.name)}
    job = maintenance(half.maintain(by_hand()))
    assert job.result == "failure"
    assert job.step("Maintain").exit_code == 2
    assert f'password authentication failed for user "{role}"' in job.summary
    assert [message for message in job.told("error") if "password authentication failed" in message]


def test_check_mode_changes_nothing_and_tells_nobody(site: Site, database: Database) -> None:
    wait_a_week(database)
    run = site.maintain(by_hand("hourly", check=True))
    assert maintenance(run).result == "success"
    assert "check mode, nothing was changed" in maintenance(run).summary
    assert database.value("SELECT count(*) FROM sessions") == 9000
    assert history(database) == []
    assert site.issues() == {}


@pytest.mark.parametrize("event", [real.HOURLY, by_hand("hourly")], ids=["schedule", "by hand"])
def test_second_workflow_at_the_same_time_ends_green_and_says_so(half: Site, database: Database, event: Event) -> None:
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", LOCK_KEYS)
        job = maintenance(half.maintain(event))
    assert (job.result, job.told("error")) == ("success", [])
    assert "skipped" in job.summary
    assert "another run" in job.summary


def test_failed_step_does_not_stop_the_others_and_texts_of_the_database_are_no_commands(
    half: Site, database: Database
) -> None:
    hostile = (
        "a\n::error::injected\r##[error]injected\n::stop-commands::x\n| <img src=x> [a](b) `c` $(touch /tmp/injected)"
    )
    database.sql("DROP MATERIALIZED VIEW user_subscription_summary CASCADE")
    database.sql("CREATE FUNCTION hostile() RETURNS int LANGUAGE plpgsql AS "
                 "$$BEGIN RAISE EXCEPTION '%', current_setting('my.text'); END$$")  # fmt: skip
    database.sql("CREATE MATERIALIZED VIEW user_subscription_summary AS SELECT public.hostile() WITH NO DATA")
    database.sql(SQL("ALTER DATABASE {} SET my.text = {}").format(Identifier(database.name), Literal(hostile)))
    database.close_connection()
    job = maintenance(half.maintain(by_hand()))
    assert job.result == "failure"
    first, last = job.told("error")
    assert first.startswith("refresh failed: public.user_subscription_summary on vtchat_production: ")
    assert "injected" in first
    assert last == "Process completed with exit code 2."
    assert job.summary.index("**failed** | refresh") < job.summary.index("done | analyze")
    assert "injected" in job.summary
    assert not [text for text in ("<img", "[a](b)", "`c`", "\n::", "$(") if text in job.summary]
    assert history(database) == [("hourly", "failed")]


def test_cancelled_run_leaves_nothing_that_goes_on(half: Site, database: Database, tmp_path: Path) -> None:
    """The runner ends the shell, then what it has started; the server ends what nobody waits for any more."""
    database.sql("CREATE FUNCTION slowly() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(600)'")
    database.sql("DROP MATERIALIZED VIEW user_subscription_summary CASCADE")
    database.sql("CREATE MATERIALIZED VIEW user_subscription_summary AS SELECT public.slowly() WITH NO DATA")
    working = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    run = half.maintain(by_hand(), Cancel("Maintain", lambda: bool(database.value(working)), (0.3, 60, 0.3)))
    assert [(job.id, job.result) for job in run.jobs] == [(MAINTENANCE, "cancelled"), (HEALTH, "skipped")]
    runs.until(lambda: not database.value(working), 120)
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND database = "
    here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    runs.until(lambda: database.value(held + here, [LOCK_KEYS[0]]) == 0)  # a session ends after its statement
    database.sql("CREATE OR REPLACE FUNCTION slowly() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    database.close_connection()
    assert maintenance(half.maintain(by_hand())).result == "success"
    assert history(database) == [("hourly", "abandoned"), ("hourly", "ok")]
