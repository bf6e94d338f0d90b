# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the workflows of this repository must have and no linter looks at, and what each trigger makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.checkout import ROOT
from tests.workflows import hub, language, real
from tests.workflows.hub import Environment, Event
from tests.workflows.language import Workflow
from tests.workflows.records import Run
from tests.workflows.runner import Actions
from tests.workflows.shell import Pretended

PATHS = sorted(real.FILES)
# The actions that are used, at these commits and no others. Dependabot's pull request changes them here, too.
PINS = {
    "actions/checkout": "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "actions/setup-python": "5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0",
    "actions/upload-artifact": "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0",
    "actions/upload-pages-artifact": "fc324d3547104276b827a68afc52ff2a11cc49c9 # v5.0.0",
    "actions/deploy-pages": "cd2ce8fcbc39b97be8ca5fce6e763baed58fa128 # v5.0.0",
    "actions/attest": "1e69f48acb82d1966a394da916b4c1698aa569d6 # v4.2.2",
}
# What jobs may write; everything else they read
WRITES = {
    ("database-maintenance", "production", "issues"),
    ("maintenance", "health", "issues"),
    ("pages", "pages", "pages"),
    ("pages", "pages", "id-token"),
    ("release", "build", "id-token"),
    ("release", "build", "attestations"),
}
# One call of make, whose options are fixed or one variable in quotes. What it prints may become an output.
ONE_CALL = re.compile(r'make ([a-z-]+|"\$STAGE")( [A-Z]+=([a-z0-9]+|"(-[a-z] )?\$[A-Z]+"))*( >> "\$GITHUB_OUTPUT")?')


def parsed(path: str) -> Workflow:
    return language.load().parse(path, real.FILES)


def steps(kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, job and step of all steps that run something, or use something."""
    for path in PATHS:
        for job_id, job in parsed(path).jobs.items():
            for step in job.get("steps", []):
                if kind in step:
                    yield path, job_id, step


@pytest.mark.parametrize("path", PATHS)
def test_github_reads_it_without_a_word(path: str) -> None:
    assert language.load().diagnose(path, real.FILES) == []
    assert parsed(path).jobs


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_allowed_that_a_job_does_not_name_and_each_job_ends(path: str) -> None:
    workflow = parsed(path)
    assert workflow.tree["permissions"] == {}
    for job_id, job in workflow.jobs.items():
        assert isinstance(job["permissions"], dict), job_id
        assert "uses" in job or "timeout-minutes" in job, job_id


def test_jobs_write_what_they_must_and_no_more() -> None:
    jobs = [(Path(path).stem, name, job["permissions"]) for path in PATHS for name, job in parsed(path).jobs.items()]
    rights = {(path, name, scope): level for path, name, given in jobs for scope, level in given.items()}
    assert {where for where, level in rights.items() if level != "read"} == WRITES
    assert {scope for _path, _name, scope in set(rights) - WRITES} == {"contents"}


def test_events_that_give_strangers_our_secrets_are_not_used() -> None:
    events = set().union(*(parsed(path).events for path in PATHS))
    assert events <= {"schedule", "workflow_dispatch", "workflow_call", "pull_request", "push"}


def test_actions_are_pinned_to_the_commits_of_one_table() -> None:
    used = [line for path in PATHS for line in re.findall(r"(?m)^[ -]*uses: ([^.$\s]\S+) ?(.*)", real.FILES[path])]
    assert {f"{action} {comment}".strip() for action, comment in used} == {
        f"{name}@{pin}" for name, pin in PINS.items()
    }
    assert all(re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin) for pin in PINS.values())


def test_logic_is_not_in_yaml() -> None:
    for path, job_id, step in steps("run"):
        assert isinstance(step["run"], str), f"{path}: {job_id} has an expression in its script"
        assert ONE_CALL.fullmatch(step["run"]), f"{path}: {job_id} runs {step['run']}"
        job = parsed(path).jobs[job_id]
        known = {**(job.get("env") or {}), **(step.get("env") or {}), "GITHUB_OUTPUT": ""}
        assert set(re.findall(r"\$([A-Z_]+)", step["run"])) <= set(known), f"{path}: {job_id}"


def test_python_and_what_is_cached_come_from_one_place() -> None:
    for path, job_id, step in steps("uses"):
        if step["uses"].startswith("actions/setup-python"):
            given = step["with"]
            if job_id == "versions":
                assert given["python-version"] == {"$": "matrix.python"}
            else:
                assert given["python-version-file"] == ".github/python-version"
            files = given.get("cache-dependency-path", "").split("\n")
            # What is released must not come from what another run has left
            assert ("cache" in given) == (path != real.RELEASE)
            assert all(list(ROOT.glob(one)) and one.startswith("requirements/") for one in files if one)
            # The cache is that of the lock from which the job installs
            installs = {"ci.yml": "requirements/dev.txt"}.get(Path(path).name, "requirements/runtime.txt")
            assert installs in files or path == real.RELEASE, f"{path}: {job_id}"


def test_schedule_is_that_of_the_original_and_one_run_at_a_time() -> None:
    workflow = parsed(real.DATABASE)
    assert workflow.schedule == [
        {"cron": "0 * * * *", "timezone": "UTC"},
        {"cron": "0 2 * * 0", "timezone": "UTC"},
    ]
    assert workflow.tree["concurrency"] == {"group": "database-maintenance-production", "cancel-in-progress": False}
    # An equal group in caller and called would be a workflow that waits for itself
    called = parsed(real.MAINTENANCE)
    assert "concurrency" not in called.tree
    assert not any("concurrency" in job for job in called.jobs.values())


def test_secrets_are_passed_on_under_their_own_names() -> None:
    """Under another one, GitHub would not look for them in the environment."""
    declared = parsed(real.MAINTENANCE).events["workflow_call"]["secrets"]
    (call,) = parsed(real.DATABASE).jobs.values()
    assert call["secrets"] == {name: {"$": f"secrets.{name}"} for name in declared}
    used = set(re.findall(r"secrets\.(\w+)", real.FILES[real.MAINTENANCE].split("\njobs:")[1]))
    assert used == set(declared)
    assert not any(one.get("required") for one in declared.values()), "a missing secret is to be our own message"


@pytest.mark.parametrize("inventory", ["inventories/plans.yml", "inventories/example/hosts.yml"])
def test_time_limit_is_above_what_the_plans_may_take(inventory: str) -> None:
    inputs = parsed(real.MAINTENANCE).events["workflow_call"]["inputs"]
    text = (ROOT / inventory).read_text(encoding="utf-8")
    budgets = sum(map(int, re.findall(r"^ *budget: (\d+)$", text, re.MULTILINE)))
    assert budgets > 0
    assert inputs["timeout"]["default"] * 60 >= budgets + 600, "ten minutes for what is around it"


def test_what_playbooks_take_from_the_environment_is_there() -> None:
    """Every variable that the inventory of production or the role that tells looks for, in the step that runs it."""
    (maintain,) = [step for _path, _job, step in steps("run") if step["run"].startswith("make maintain")]
    reports = [step for _path, _job, step in steps("run") if step["run"].startswith("make report INVENTORY")]
    assert len(reports) == 2
    assert all("DATABASE_URL" in step["env"] for step in reports)
    (tell,) = [step for _path, _job, step in steps("run") if step["run"].startswith("make alerts")]
    # The environment's own DATABASE_URL is that of production; the platform's token has the other of its two names
    others = {"PRODUCTION_DATABASE_URL", "GH_TOKEN"}
    wanted = _looked_up("inventories/production/group_vars/production") - others
    assert wanted <= set(maintain["env"])
    wanted = (wanted - {"MAINTENANCE_PING_URL"}) | _looked_up("roles/alerts/defaults") - others
    assert {name for name in wanted if not name.startswith("GITHUB_")} | {"GITHUB_TOKEN"} <= set(tell["env"])


def _looked_up(folder: str) -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / folder).glob("*.yml")]
    return {name for text in texts for name in re.findall(r"'ansible\.builtin\.env', '([A-Z_]+)'", text)}


def test_dependabot_looks_at_everything_that_is_pinned() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))["updates"]
    ecosystems = {update["package-ecosystem"]: update.get("directories") or [update["directory"]] for update in updates}
    assert set(ecosystems) == {"github-actions", "pip", "npm"}
    locked = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "requirements").rglob("*.txt")}
    assert {one.strip("/") for one in ecosystems["pip"]} == locked
    assert (ROOT / ecosystems["npm"][0].strip("/") / "package-lock.json").exists()


# --- What each trigger makes of them. Nothing is executed here, so that every combination can be looked at.


def start(path: str, event: Event, directory: Path, *failing: str) -> Run:
    repository = real.repository()
    repository.secrets = {"MINE": "secret of the repository"}
    repository.variables = {"REPORT_PAGES": "public"}
    repository.environments = {
        name: Environment({"DATABASE_URL": f"secret of {name}"})
        for name in ("production", "production-provisioning", "development")
    }
    pretended = Pretended(*failing, outputs=real.OUTPUTS)
    run = Actions(language.load(), repository, directory, performer=pretended).run(path, event)
    assert run is not None
    return run


CASES = [(path, event) for path, events in real.EVENTS.items() for event in events]
P = "production / "
LOOK = "Look at the database, and tell"
# What nothing depends on
TOLERATED = {(real.DATABASE, "Make the report")}
BOTH = [f"{P}maintenance", f"{P}health"]
EXPECTED: dict[str, dict[str, list[str]]] = {
    real.DATABASE: {"schedule": BOTH, "hourly": BOTH, "weekly": BOTH, "health": [f"{P}health"]},
    real.PROVISION: {"pull_request": ["review"], "push": ["development", "production"]},
    real.SECRETS: {"workflow_dispatch": ["secrets"]},
    real.PAGES: {"schedule": ["report", "pages"], "workflow_dispatch": ["report", "pages"]},
    real.RELEASE: {"push": ["build"]},
}


def titled(case: tuple[str, Event]) -> str:
    path, event = case
    inputs = " ".join(f"{name}={value}" for name, value in event.inputs.items())
    return f"{Path(path).stem} {event.name} {event.payload.get('schedule', '')}{inputs}{' fork' if event.fork else ''}"


def test_every_workflow_and_every_trigger_is_looked_at() -> None:
    assert set(real.EVENTS) == set(PATHS) - {real.MAINTENANCE}
    for path, events in real.EVENTS.items():
        assert {event.name for event in events} == set(parsed(path).events), path
        schedules = {event.payload["schedule"] for event in events if event.name == "schedule"}
        assert schedules == {entry["cron"] for entry in parsed(path).schedule}


@pytest.mark.parametrize("case", CASES, ids=titled)
def test_jobs_of_each_trigger_whatever_fails(case: tuple[str, Event], tmp_path: Path) -> None:
    path, event = case
    well = start(path, event, tmp_path)
    assert well.conclusion == "success"
    if path != real.CI:
        expected = EXPECTED[path]
        assert well.ran == expected.get(event.name) or expected[str(event.inputs.get("maintenance_type"))]
    looks(well, event)
    names = sorted({step.name for _job, step in well.steps() if step.script})
    for failing in [*((name,) for name in names), tuple(names)]:
        run = start(path, event, tmp_path, *failing)
        assert run.conclusion == ("success" if {(path, one) for one in failing} <= TOLERATED else "failure"), failing
        looks(run, event)


def looks(run: Run, event: Event) -> None:
    """What holds for each run, however it went."""
    for job, step in run.steps():
        values = " ".join([*step.environment.values(), *step.inputs.values()])
        if event.fork:
            assert not job.environment
            assert "secret of" not in values
            assert "write" not in job.permissions.values()
        if event.name == "schedule" and job.id != "pages":
            assert (job.environment, job.deployment) == ("production", False)
        if "secret of" in values:
            assert job.environment, f"{job.id} has a secret and no environment"
            # What is used there is that environment's, and only a script sees it
            assert f"secret of {job.environment}" in values
            assert step.script or not step.ran


@pytest.mark.parametrize("of_environment", ["", "secret of production"])
def test_secret_of_the_environment_goes_first_and_one_of_the_repository_does(
    of_environment: str, tmp_path: Path
) -> None:
    repository = real.repository(ROOT)
    repository.secrets = {"DATABASE_URL": "secret of the repository"}
    own = {"DATABASE_URL": of_environment} if of_environment else {}
    repository.environments = {"production": Environment(own)}
    run = Actions(language.load(), repository, tmp_path).run(real.DATABASE, real.HOURLY)
    assert run is not None
    seen = {
        step.environment["DATABASE_URL"]
        for _job, step in run.steps()
        if step.script != "make report-link" and step.script
    }
    assert seen == {of_environment or "secret of the repository"}


def test_health_is_looked_at_when_the_maintenance_has_failed_and_not_when_it_was_cancelled(tmp_path: Path) -> None:
    run = start(real.DATABASE, real.HOURLY, tmp_path, "Maintain")
    assert run.job(f"{P}health").ran == run.job(f"{P}health").ran != []
    assert (run.job(f"{P}maintenance").result, run.job(f"{P}health").result) == ("failure", "success")
    assert run.job(f"{P}health").step("Look at the database, and tell").ran


REPORT = ["Make the report", "Keep the report", "Say where it is"]


@pytest.mark.parametrize(
    ("when", "event", "plans", "made"),
    [
        ("", real.HOURLY, "hourly", False),
        ("", real.HOURLY, "hourly weekly", True),
        ("", real.HOURLY, "biweekly weekly-small", False),
        ("", real.WEEKLY, "", False),
        ("", hub.dispatch(maintenance_type="hourly"), "hourly", True),
        ("", hub.dispatch(maintenance_type="health"), "", True),
        ("nightly", real.HOURLY, "hourly nightly", True),
        ("nightly", real.HOURLY, "hourly weekly", False),
        ("''", real.HOURLY, "", False),
        ("always", real.HOURLY, "", True),
        ("never", real.HOURLY, "weekly", False),
        ("never", hub.dispatch(maintenance_type="weekly"), "weekly", False),
    ],
)
def test_report_is_made_when_it_is_wanted_and_not_each_hour(
    when: str, event: Event, plans: str, made: bool, tmp_path: Path
) -> None:
    repository = real.repository(ROOT)
    more = f"\n      report: {when}" if when else ""
    called = real.FILES[real.DATABASE].replace("inventory: production", f"inventory: production{more}")
    repository.files = {**real.FILES, real.DATABASE: called}
    pretended = Pretended(LOOK, outputs={"Maintain": {"plans": plans}})  # an ill database is no reason against it
    run = Actions(language.load(), repository, tmp_path, performer=pretended).run(real.DATABASE, event)
    assert run is not None
    ran = run.job(f"{P}health").ran
    assert [name for name in REPORT if name in ran] == (REPORT if made else [])
    assert run.conclusion == "failure"


def test_report_that_cannot_be_made_makes_no_run_red(tmp_path: Path) -> None:
    run = start(real.DATABASE, hub.dispatch(maintenance_type="hourly"), tmp_path, "Make the report")
    job = run.job(f"{P}health")
    assert (run.conclusion, job.step("Make the report").outcome) == ("success", "failure")
    assert job.ran[-2:] == REPORT[1:], "what there is of it is kept, and it is said that there is none"
    assert job.step("Make the report").environment["INVENTORY"] == "production"


@pytest.mark.parametrize("value", [None, "", "true", "Publicly"])
def test_nothing_is_published_that_nobody_wants_to_be_public(value: str | None, tmp_path: Path) -> None:
    repository = real.repository()
    repository.variables = {} if value is None else {"REPORT_PAGES": value}
    for event in real.EVENTS[real.PAGES]:
        run = Actions(language.load(), repository, tmp_path).run(real.PAGES, event)
        assert run is not None
        assert run.ran == []


def test_one_workflow_may_maintain_several_environments(tmp_path: Path) -> None:
    job = """
      permissions: {contents: read, issues: write}
      uses: $/.github/workflows/maintenance.yml
      with: {inventory: NAME, environment: NAME}"""
    jobs = "".join(f"\n  {name}:{job.replace('NAME', name)}" for name in ("staging", "production"))
    repository = real.repository(ROOT)
    repository.files = {**real.FILES, "all.yml": f"on: push\npermissions: {{}}\njobs:{jobs}\n"}
    run = Actions(language.load(), repository, tmp_path).run("all.yml", hub.push())
    assert run is not None
    assert [job.environment for job in run.jobs] == ["staging", "staging", "production", "production"]
    kept = [step.inputs["name"] for _job, step in run.steps() if step.name == "Keep the checks"]
    assert kept == ["health-staging", "health-production"]


@pytest.mark.parametrize(
    ("event", "plan", "check", "title"),
    [
        (real.HOURLY, "due", "false", "What is due"),
        (real.WEEKLY, "due", "false", "What is due"),
        (hub.dispatch(maintenance_type="hourly"), "hourly", "false", "hourly"),
        (hub.dispatch(maintenance_type="weekly", check=True), "weekly", "true", "weekly (check)"),
    ],
)
def test_plan_and_check_mode_reach_the_script(event: Event, plan: str, check: str, title: str, tmp_path: Path) -> None:
    run = start(real.DATABASE, event, tmp_path)
    environment = run.job(f"{P}maintenance").step("Maintain").environment
    assert (environment["PLAN"], environment["CHECK"]) == (plan, check)
    assert environment["INVENTORY"] == "production"
    assert run.title == title


def test_approval_is_waited_for_before_production_is_provisioned(tmp_path: Path) -> None:
    repository = real.repository()
    repository.environments = {
        "development": Environment({"DATABASE_URL": "d"}),
        "production-provisioning": Environment({"DATABASE_URL": "p"}, approved=False),
    }
    github = Actions(language.load(), repository, tmp_path)
    run = github.run(real.PROVISION, hub.push(changed=["sql/objects.yml"]))
    assert run is not None
    assert [(job.id, job.result) for job in run.jobs if job.result != "skipped"] == [
        ("development", "success"),
        ("production", "waiting"),
    ]
    github.performer = Pretended("Provision")
    run = github.run(real.PROVISION, hub.push(changed=["sql/objects.yml"]))
    assert run is not None
    assert run.ran == ["development"]
    assert github.run(real.PROVISION, hub.push(changed=["README.md"])) is None


def test_lock_of_the_parser_has_a_checksum_for_each_package_and_no_address() -> None:
    text = (ROOT / "requirements/npm/package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert all(one["integrity"].startswith("sha512-") for name, one in packages.items() if name)
    assert "registry" not in text
    assert "resolved" not in text
    exact = json.loads((ROOT / "requirements/npm/package.json").read_text(encoding="utf-8"))["dependencies"]
    assert all(packages[f"node_modules/{name}"]["version"] == version for name, version in exact.items())
