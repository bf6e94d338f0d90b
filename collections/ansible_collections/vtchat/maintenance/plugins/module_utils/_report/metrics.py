# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The file of metrics: what the results of a playbook tell, and what earlier playbooks have told that is still so. Pure.

Several playbooks write one file, such as hourly and health, and often a playbook runs one plan of several, on one host of many.
So each takes from the earlier text what it does not know better. All that is told of a database goes with its runs: what a run of
a plan has found stays until the plan runs again or another one looks at the same, and for 90 days.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from .._clean import visible
from . import exposition
from .exposition import Families
from .metric_samples import (
    BLOAT,
    CHECK_OF,
    CHECKED,
    COUNTED,
    DUE,
    EXPORTED,
    OF_SERVERS,
    RUN,
    STATUS,
    TIMESTAMP,
    Sample,
    checks,
    of_counters,
    of_findings,
    of_plan,
    of_run,
    succeeded,
    tells,
    took_place,
)
from .model import RunResult, Runs, entries

# As long as the history keeps runs.
KEPT = 90 * 86400.0
HELPS = {**RUN, **COUNTED, **CHECKED, **EXPORTED}


def document(runs: Runs, ended: Sequence[float], earlier: str = "", bloat: bool = False) -> str:
    """The text. ended: when each run did, in seconds since 1970. Of two runs of one plan on one host the later one counts.

    Of what was only checked beforehand (check mode) nothing is told but what checks have found, and of services nothing.

    earlier  the text that is there
    bloat    whether bloat and indexes that are not valid are told by the names that published rules expect
    """
    helps = {**HELPS, **BLOAT} if bloat else HELPS
    by_host: dict[str, list[_Told]] = {}
    for (host, result), when in zip(runs, ended):
        if tells(result):
            by_host.setdefault(visible(host), []).append(_Told(host, result, when, _Said.by(host, result)))
    old = _still_so(exposition.read(earlier), helps, by_host)
    new: Families = {name: {} for name in helps}
    for told in by_host.values():
        for name, samples in _of_host(told, helps).items():
            new[name].update(samples)
    _drop_what_is_over(old, new, max(ended, default=0.0))
    return exposition.write({name: {**old[name], **new[name]} for name in helps}, helps)


def stranger(earlier: str) -> str:
    """The first line of the text that is no metric of ours; empty where there is none."""
    return exposition.stranger(earlier, {**HELPS, **BLOAT}, "inventory_host")


def _still_so(known: Families, names: Iterable[str], by_host: Mapping[str, Sequence[_Told]]) -> Families:
    """What earlier playbooks have told and this one does not know better."""
    families: Families = {}
    for name in names:
        families[name] = {}
        for labels, value in known.get(name, {}).items():
            had = dict(labels)
            told = by_host.get(had.get("inventory_host", ""), ())
            if not any(one.said.better(name, had, earlier=True) for one in told):
                families[name][labels] = value
    return families


def _of_host(told: Sequence[_Told], names: Iterable[str]) -> Families:
    """What the results of one host tell, in their order: a later one knows better."""
    families: Families = {name: {} for name in names}
    for host, result, when, said in told:
        for name, samples in families.items():
            for labels in [labels for labels in samples if said.better(name, dict(labels), earlier=False)]:
                del samples[labels]
        for name, labels, value in _samples(host, result, when):
            if name in families:
                families[name][labels] = value
    return families


def _samples(host: str, result: RunResult, when: float) -> Iterator[Sample]:
    if took_place(result):
        yield from of_run(host, result, when)
        yield from of_counters(host, result)
    yield from of_findings(host, result)


class _Said(NamedTuple):
    """What a result says, and nothing that was said before is true of any more.

    database  its name, empty where none was reached
    run       whether it took place
    counted   whether it has the counters
    looked    whether it has looked at the database, so that what it has not looked at is of no interest any more
    """

    database: str
    plan: str
    run: bool
    counted: bool
    looked: bool
    checks: set[str]

    @classmethod
    def by(cls, host: str, result: RunResult) -> _Said:
        labels, run = dict(of_plan(host, result)), took_place(result)
        found = checks(result)
        return cls(
            database=labels["datname"],
            plan=labels["plan"],
            run=run,
            counted=run and bool(entries(result, "counters")),
            looked=bool(found) or (run and succeeded(result)),
            checks=found,
        )

    def better(self, name: str, had: dict[str, str], earlier: bool) -> bool:
        """Whether it knows better than a sample of its host that is there.

        earlier: of an earlier playbook. A run of that which has reached no database was of this one, as far as anybody knows; in
        one playbook there may be several. Likewise with what is told of all databases of a server.
        """
        mine = had.get("datname") == self.database
        if name in RUN:
            if earlier and self.database and had.get("datname") == "":
                return True  # it answers again; what was not done is overdue, and no failure any more
            return self.run and had.get("plan") == self.plan and (mine or (earlier and had.get("datname") == ""))
        if name in COUNTED:
            return mine and self.counted
        if name in CHECKED:
            return mine and (had.get("check") in self.checks or (self.looked and had.get("plan") == self.plan))
        return (mine or (earlier and name in OF_SERVERS)) and not self.checks.isdisjoint(CHECK_OF[name])


class _Told(NamedTuple):
    host: str
    result: RunResult
    when: float
    said: _Said


def _drop_what_is_over(families: Families, new: Families, now: float) -> None:
    """Leave nothing of what was told before that no run of the last 90 days stands for; but when a plan with a schedule has run:
    an alert that it does not run any more is not to end by itself."""
    runs = {labels for labels, when in families[TIMESTAMP].items() if when > now - KEPT} | set(new[TIMESTAMP])
    databases = {labels[:2] for labels in runs}
    expected = runs | set(families[DUE])
    families.update(
        {name: {labels: value for labels, value in families[name].items() if labels in expected} for name in RUN}
    )
    for name in COUNTED:
        families[name] = {labels: value for labels, value in families[name].items() if labels[:2] in databases}
    for name in CHECKED:
        families[name] = {labels: value for labels, value in families[name].items() if labels[:3] in runs}
    looked = {(labels[0], labels[3][1]) for labels in families[STATUS] if len(labels) > 3}
    for name in families.keys() & CHECK_OF.keys():
        held = {host for host, check in looked if check in CHECK_OF[name]}
        families[name] = {labels: value for labels, value in families[name].items() if labels[0] in held}
