# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible's events to text: which results are ours, where the text goes. The text itself is made in _report."""

from __future__ import annotations

DOCUMENTATION = r"""
name: summary
type: aggregate
short_description: Shows what maintenance did, target by target
version_added: 1.0.0
author:
  - the vtchat.maintenance authors (@vtchat)
description:
  - After each task of this collection that does something, prints one aligned line per target with the outcome, the
    operation, the rows or bytes changed, the time and the reason; of secrets also on what basis they are taken for right.
    Objects of a database that stay as they are are one line together, except with C(-v). At the end of the playbook, prints
    the totals of all hosts.
  - Without a terminal, lines are up to 140 characters wide, so that a target and its reason are on one line.
  - Prints nothing for other tasks, and nothing at all for playbooks without such tasks.
  - Works next to the stdout callback, and is silent next to P(vtchat.maintenance.nagios#callback). Results hidden by C(no_log)
    stay hidden.
  - The statements and the number of round trips are shown with C(-v) only.
  - Under GitHub Actions (the environment variable E(GITHUB_ACTIONS) is V(true)) also writes up to 10 warning
    annotations (targets contended or deferred, warnings of a run) and up to 10 error annotations (targets and runs
    failed, other tasks that failed), of which the last says how many more there are.
  - There it also appends to the file named by E(GITHUB_STEP_SUMMARY) what was done and why, the worst first, how earlier runs of
    the plan went, and with C(--diff) the differences, within the megabyte that GitHub shows.
  - The names of the plans that have run are the output C(plans) of the step, with spaces between them, for the conditions of
    later steps. One that was skipped, such as one that is not due, is not among them.
requirements:
  - enable in configuration
options:
  json_file:
    description:
      - File that receives all results of the playbook as one JSON document, for other programs. No file is written
        when this is not set.
      - The file is replaced atomically at the end of the playbook and can be read by its owner only (mode 0600). It is
        written also when nothing was done, with an empty list of runs.
      - Each run is the result of a task, with C(inventory_host) and C(module).
    type: path
    env:
      - name: VTCHAT_MAINTENANCE_JSON
    ini:
      - section: callback_vtchat_maintenance_summary
        key: json_file
  junit_file:
    description:
      - File that receives the findings of the playbook as JUnit XML, for the pages of a CI system that show tests. One case for
        each finding; V(info) passes, V(unknown) is skipped, V(warning) and V(critical) fail. A run that failed without a finding
        is a case with an error. No file is written when this is not set.
      - It is written like O(json_file).
    type: path
    env:
      - name: VTCHAT_MAINTENANCE_JUNIT
    ini:
      - section: callback_vtchat_maintenance_summary
        key: junit_file
  metrics_file:
    description:
      - File that receives the runs, counters and findings of all hosts of the playbook as metrics, each with the label
        C(inventory_host). It is OpenMetrics and Prometheus' text format at once, for the textfile collector of node_exporter or
        for a Pushgateway.
      - All playbooks of a machine write one file. What others have told stays there, until the same plan runs again or another
        one looks at the same, and for 90 days; when a plan with a schedule has run stays, so that an alert about it does not end.
        To forget hosts and plans that are no more, remove the file.
      - A file that is there is taken only if nothing else is in it; a link, a pipe or a device is refused with a warning.
      - Where postgres_exporter has a metric of the same meaning, that is its name. All others begin with C(pg_maintenance_).
      - The file is replaced atomically at the end of the playbook, and everybody may read it (mode 0644), since collectors run as
        somebody else. It names databases, tables, indexes and roles.
      - Without it, the variable C(maintenance_metrics_file) of the first host counts, as it is for the last play that had one of
        these tasks. Of a run in check mode only findings are told.
    type: path
    env:
      - name: VTCHAT_MAINTENANCE_METRICS_FILE
    ini:
      - section: callback_vtchat_maintenance_summary
        key: metrics_file
  metrics_bloat:
    description:
      - Whether O(metrics_file) also has C(pg_bloat_btree_bloat_pct), C(pg_bloat_btree_real_size), C(pg_bloat_table_bloat_pct),
        C(pg_bloat_table_real_size) and C(pg_general_index_info_pg_relation_size), for which published alert rules wait and which
        no exporter has.
      - They come from the checks V(index-bloat), V(table-bloat), V(invalid-indexes) and V(index-leftovers), so only of what
        those tell of.
      - Without it, the variable C(maintenance_metrics_bloat) counts, as for O(metrics_file).
    type: bool
    env:
      - name: VTCHAT_MAINTENANCE_METRICS_BLOAT
    ini:
      - section: callback_vtchat_maintenance_summary
        key: metrics_bloat
"""

EXAMPLES = r"""
ansible.cfg: |
  # Enables the callback.
  [defaults]
  callbacks_enabled = vtchat.maintenance.summary

  # Keeps the results for a monitoring system.
  [callback_vtchat_maintenance_summary]
  json_file = /var/lib/maintenance/last-run.json
"""

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ansible import constants
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.callback import CallbackBase

from ansible_collections.vtchat.maintenance.plugins.module_utils._origin import run_link
from ansible_collections.vtchat.maintenance.plugins.module_utils._report import github, model, text
from ansible_collections.vtchat.maintenance.plugins.module_utils._result import (
    ABANDONED,
    CONTENDED,
    CRITICAL,
    DEFERRED,
    DONE,
    FAILED,
    OK,
    PARTIAL,
    PLANNED,
    SKIPPED,
    UNCHANGED,
    UNKNOWN,
    WARNING,
)
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._faults import plain
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._files import replace as _replace

_OURS = "vtchat.maintenance."
_ONE_LINE = f"{_OURS}nagios"  # the stdout callback whose one line is all that may be shown
_METRICS = ("maintenance_metrics_file", "maintenance_metrics_bloat")
_MARKER = ("actions", "status", "plan")
# Without a terminal a line is as long as most pages show it: a target and its reason are one line then, for grep and for the eye.
_LOG_COLUMNS = 140
_ANNOTATIONS = 10  # per level; GitHub shows no more of one step
# Not part of the result of a run: what Ansible adds, and the loop variables, which may hold a password.
_NOT_OURS = {"invocation", "diff", "exception", "deprecations", "item", "results", "censored", "attempts"}


class CallbackModule(CallbackBase):
    """Collects the results of this collection's database modules and reports them."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "vtchat.maintenance.summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._runs: list[tuple[str, dict[str, Any]]] = []
        self._ended: list[float] = []  # when each run did
        self._play: Any = None
        self._first: tuple[Any, Any] | None = None  # the play of the latest run, and the first host that had one in it
        self._differences: list[Any] = []  # of each run, for the summary of a job alone
        self._failures: list[github.Failure] = []
        self._annotations: dict[str, list[str]] = {}
        self._token = ""  # ends the time in which GitHub's runner obeys nothing that is printed

    # Ansible's events. A loop reports its items first and then the task, whose result has no actions of its own.

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """The playbook begins. What others print, differences above all, is text to GitHub and never a command."""
        if _under_github():
            self._token = secrets.token_hex(16)
            self._display.display(github.stopped(self._token))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play begins."""
        self._play = play

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task succeeded."""
        self._take(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed; what was done before that is in its result."""
        self._take(result)
        if not ignore_errors:
            self._note_failure(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host cannot be reached."""
        self._note_failure(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """One item of a loop succeeded."""
        self._take(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """One item of a loop failed."""
        self._take(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The playbook ended."""
        # What failed and was rescued is no failure.
        lost = {host for name in ("failures", "dark") for host in getattr(stats, name, {})}
        failures = [one for one in self._failures if one.host in lost]
        if self._runs:
            untold = {one.host for one in failures} - {host for host, run in self._runs if model.status(run) == FAILED}
            self._show(text.totals_lines(self._runs, self._columns(), len(untold)))
        if _under_github():
            self._report_to_github(failures)
        for option, made in (("json_file", self._json), ("junit_file", self._junit)):
            path = self._file(option)
            if path:
                self._write(f"the results ({option})", partial(_replace, made()), path)
        self._tell_metrics()

    def _tell_metrics(self) -> None:
        path, bloat = self._file("metrics_file"), self.get_option("metrics_bloat")
        if not path or bloat is None:
            said = self._said_by_variables()
            path = path or self._said_file(said.get("maintenance_metrics_file"))
            bloat = boolean(said.get("maintenance_metrics_bloat") or False, strict=False) if bloat is None else bloat
        if path:
            from ansible_collections.vtchat.maintenance.plugins.plugin_utils import (
                _metrics_file,
            )  # where somebody wants it

            write = partial(_metrics_file.write, self._runs, self._ended, bloat)
            self._write("the metrics (metrics_file)", write, path)

    def _file(self, option: str) -> str:
        """Where something is to be written, "" if nowhere.

        A workflow sets a variable of the environment to nothing where nobody has given a value: to Ansible that is the path
        of the working directory, which is no file.
        """
        path = str(self.get_option(option) or "")
        return "" if path == os.path.realpath(os.curdir) else path

    def _said_file(self, value: Any) -> str:
        """The path that a variable holds; whatever else it is, such as true, is told and is no name of a file."""
        if not value or isinstance(value, str):
            return os.path.expanduser(value or "")
        self._display.warning(
            "vtchat.maintenance: cannot write the metrics (metrics_file): maintenance_metrics_file is "
            f"{value!r}, and has to be the path of a file"
        )
        return ""

    def _said_by_variables(self) -> dict[str, Any]:
        """What variables say of the metrics. Ansible gives callbacks none; they are asked for once."""
        if not self._first or not self._first[0]:
            return {}
        play, host = self._first
        variables = play.get_variable_manager().get_vars(play=play, host=host)
        said = {name: variables[name] for name in _METRICS if name in variables}
        if not said:
            return {}
        from ansible.template import Templar

        templar = Templar(loader=play.get_loader(), variables=variables)
        return {name: templar.template(value) for name, value in said.items()}

    def _report_to_github(self, failures: list[github.Failure]) -> None:
        """The summary of the job, and the annotations that are left."""
        for one in failures:
            self._annotate([github.failed(one)])
        left = {level: waiting[_ANNOTATIONS - 1 :] for level, waiting in self._annotations.items()}
        self._command([one[0] if len(one) == 1 else github.more(level, len(one)) for level, one in left.items() if one])
        if self._token:
            self._display.display(github.obeyed(self._token))
            self._token = ""
        if os.environ.get("GITHUB_STEP_SUMMARY") and (self._runs or failures):
            self._write(
                "the summary of the job", partial(self._append_summary, failures), os.environ["GITHUB_STEP_SUMMARY"]
            )
        if os.environ.get("GITHUB_OUTPUT") and self._runs:
            self._write("the output plans of the step", self._append_outputs, os.environ["GITHUB_OUTPUT"])

    def _take(self, event: Any) -> None:
        result, task, name = _parts(event)
        if not _is_run(task, result):
            return
        run = {**_run_only(result), "module": _action(task).removeprefix(_OURS)}
        self._runs.append((name, run))
        self._ended.append(time.time())
        if self._first is None or self._first[0] is not self._play:
            self._first = self._play, event.host if hasattr(event, "host") else event._host
        self._differences.append(result.get("diff") if getattr(task, "diff", False) is True else None)
        self._show(text.run_lines(name, run, self._columns(), self._display.verbosity > 0))
        if _under_github():
            self._annotate(github.commands(name, run))

    def _note_failure(self, event: Any) -> None:
        """A task that failed and that no run tells of, or items of its loop."""
        result, task, name = _parts(event)
        if not isinstance(result, Mapping):
            return
        found = result.get("results")
        items = (
            [one for one in found if isinstance(one, Mapping) and one.get("failed")] if isinstance(found, list) else []
        )
        for one in items or [result]:
            if not _is_run(task, one):
                hidden = "censored" in one or one.get("_ansible_no_log")
                said = "its result is hidden (no_log)" if hidden else plain(one.get("msg") or FAILED)
                failure = github.Failure(name, str(task.get_name(include_role_fqcn=False)), said)
                if failure not in self._failures:  # the items of a loop often fail alike
                    self._failures.append(failure)

    def _show(self, lines: list[text.Line]) -> None:
        if constants.DEFAULT_STDOUT_CALLBACK == _ONE_LINE:
            return
        for line in lines:
            # Display decides about colours: terminal or not, ANSIBLE_NOCOLOR, ANSIBLE_FORCE_COLOR.
            self._display.display(line.text, color=_color(line.kind))

    def _columns(self) -> int:
        # Display knows the terminal, and says 79 where there is none. Long lines are hard to follow with the eye.
        if not os.isatty(1):
            return _LOG_COLUMNS
        return min(getattr(self._display, "columns", None) or 79, 160)

    def _annotate(self, commands: list[tuple[str, str]]) -> None:
        """Show all but the last that GitHub would show of a level: in its place may come how many more there are."""
        shown = []
        for level, command in commands:
            known = self._annotations.setdefault(level, [])
            known.append(command)
            if len(known) < _ANNOTATIONS:
                shown.append(command)
        self._command(shown)

    def _command(self, commands: list[str]) -> None:
        """Print what the runner is to obey."""
        around = [github.obeyed(self._token)], [github.stopped(self._token)]
        before, after = around if self._token and commands else ([], [])
        for line in [*before, *commands, *after]:
            self._display.display(line)

    def _write(self, what: str, write: Callable[[str], None], path: str) -> None:
        """What cannot be written is a warning: the maintenance itself was done."""
        try:
            write(path)
        except OSError as error:
            self._display.warning(f"vtchat.maintenance: cannot write {what} to {path}: {error.strerror or error}")

    def _append_summary(self, failures: list[github.Failure], path: str) -> None:
        # The limit is for the file, and earlier commands of the same step may have written to it.
        used = os.path.getsize(path) if os.path.exists(path) else 0
        told = [(host, {**run, "diff": one}) for (host, run), one in zip(self._runs, self._differences)]
        text = github.markdown(told, github.SUMMARY_LIMIT - used, run_link(os.environ), failures)
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)

    def _append_outputs(self, path: str) -> None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(github.outputs([run for _host, run in self._runs]))

    def _junit(self) -> str:
        from ansible_collections.vtchat.maintenance.plugins.module_utils._report import junit  # where somebody wants it

        return junit.document(self._runs)

    def _json(self) -> str:
        document = {
            "format": 1,
            "runs": [{"inventory_host": host, **run} for host, run in self._runs],
            "totals": model.totals(self._runs),
        }
        return json.dumps(document, indent=2, sort_keys=True, default=str) + "\n"


def _parts(event: Any) -> tuple[Any, Any, str]:
    """The result, the task, and the name of the host."""
    # ansible-core 2.18 has only the underscored names; 2.23 removes those that are underscored.
    result = event.result if hasattr(event, "result") else event._result
    task = event.task if hasattr(event, "task") else event._task
    host = event.host if hasattr(event, "host") else event._host
    return result, task, host.get_name()


def _is_run(task: Any, result: Any) -> bool:
    """Whether this is the result of a run: one of our modules, with the keys that only such results have."""
    if not isinstance(result, Mapping) or "censored" in result or result.get("_ansible_no_log"):
        return False
    if not all(key in result for key in _MARKER):
        return False
    # Asked last: ansible-core warns when this is read of a task whose action is a template and not resolved here.
    return _action(task).startswith(_OURS)


def _action(task: Any) -> str:
    return str(getattr(task, "resolved_action", None) or getattr(task, "action", ""))


def _run_only(result: Mapping[str, Any]) -> dict[str, Any]:
    hidden = {str(result.get(key)) for key in ("ansible_loop_var", "ansible_index_var")} | _NOT_OURS
    return {
        key: value
        for key, value in result.items()
        if key not in hidden and not key.startswith(("_", "ansible_")) and key != "failed_when_result"
    }


def _under_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true" and constants.DEFAULT_STDOUT_CALLBACK != _ONE_LINE


def _color(kind: str) -> str | None:
    colors = {
        **dict.fromkeys((OK, UNCHANGED), constants.COLOR_OK),
        **dict.fromkeys((DONE, PLANNED), constants.COLOR_CHANGED),
        **dict.fromkeys((SKIPPED, UNKNOWN), constants.COLOR_SKIP),
        **dict.fromkeys((PARTIAL, CONTENDED, DEFERRED, ABANDONED, WARNING), constants.COLOR_WARN),
        **dict.fromkeys((FAILED, CRITICAL), constants.COLOR_ERROR),
    }
    return colors.get(kind)
