# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workflow that sets secrets, executed against doubles of GitHub and Fly; the runner itself looks whether one is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.doubles.fly import Fly
from tests.doubles.github import GitHub
from tests.workflows import hub, real
from tests.workflows.hub import Environment
from tests.workflows.records import Job
from tests.workflows.site import Site, github

NAMES = {
    "MAINTENANCE_GITHUB_TOKEN": "github_pat_11TOKENzq7",
    "FLY_API_TOKEN": "fm2_lJPECTOKENzq7" + "x" * 40,
    "PRODUCTION_DATABASE_URL": "postgresql://maintainer:PASSzq7%40x@db.example.com/app",
    "APP_DATABASE_URL": "postgresql://app:OTHERzq7@db.example.com/app",
    "MAINTENANCE_FINGERPRINT_KEY": "KEYzq7-of-more-than-32-bytes-and-kept-well",
}


@dataclass
class Sides:
    """Both services, and the workflow between them."""

    site: Site
    github: GitHub
    fly: Fly

    def run(self, **inputs: str) -> Job:
        """Somebody presses the button; without a word it is check mode."""
        run = self.site.run(real.SECRETS, hub.dispatch(**inputs))
        assert run.concurrency == {"group": "secrets-production", "cancel-in-progress": False}
        return run.job("secrets")

    @property
    def on_github(self) -> dict[str, str]:
        """What the repository has."""
        return self.github.places[real.NAME].values()

    @property
    def on_fly(self) -> dict[str, str]:
        """What the app has."""
        return self.fly.apps["shop"].values


@pytest.fixture
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    directory = tmp_path_factory.mktemp("runner")
    site = Site(real.checkout(directory / "work"), directory)
    fly = Fly()
    fly.add_app("shop", NAMES["FLY_API_TOKEN"])
    where = site.checkout.directory / "inventories/production/group_vars/production/double.yml"
    where.write_text(f"fly_secrets_api_url: {fly.url}\n", encoding="utf-8")
    # Localhost, where the secrets are set, has the variables of all
    where.rename(where.parents[1] / "all/double.yml")
    environment = Environment(dict(NAMES), {"FLY_APP": "shop", "FLY_APP_URL": "https://shop.example.com"})
    site.environments = {"production-provisioning": environment}
    for double in github():
        double.token = NAMES["MAINTENANCE_GITHUB_TOKEN"]
        site.api_url = double.url
        yield Sides(site, double, fly)
    fly.close()


def test_secrets_from_their_first_day_to_a_new_value(sides: Sides) -> None:
    planned = sides.run()
    assert (planned.result, planned.environment, planned.deployment) == ("success", "production-provisioning", False)
    assert "planned" in planned.summary
    assert (sides.on_github, sides.on_fly) == ({}, {})

    assert sides.run(check="false").result == "success"
    token = sides.on_github["CRON_SECRET_TOKEN"]
    assert sides.on_github == {
        "CRON_SECRET_TOKEN": token,
        "DATABASE_URL": NAMES["PRODUCTION_DATABASE_URL"],
        "FLY_APP_URL": "https://shop.example.com",
    }
    assert sides.on_fly == {"CRON_SECRET_TOKEN": token, "DATABASE_URL": NAMES["APP_DATABASE_URL"]}

    machine = sides.fly.add_machine("shop")
    known = len(sides.github.seen("PUT"))
    again = sides.run(rotate="true", deploy="true", check="false")
    assert again.result == "success"
    assert sides.on_github["CRON_SECRET_TOKEN"] == sides.on_fly["CRON_SECRET_TOKEN"] != token
    assert machine.runs["CRON_SECRET_TOKEN"] == sides.on_fly["CRON_SECRET_TOKEN"]
    assert token not in again.output + again.summary
    written = {request.path.rpartition("/")[2] for request in sides.github.seen("PUT")[known:]}
    assert written == {"CRON_SECRET_TOKEN"}, "what GitHub has already is left alone"


def test_missing_secrets_are_named_before_anything_is_set(sides: Sides) -> None:
    sides.site.environments["production-provisioning"] = Environment({})
    job = sides.run(check="false")
    assert job.result == "failure"
    for name in ("GH_TOKEN", "FLY_API_TOKEN", "DATABASE_URL"):
        assert any(name in message for message in job.told("error"))
        assert name in job.summary
    assert sides.github.requests == sides.fly.requests == []
