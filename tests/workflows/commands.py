# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the runner reads: commands in the output of a step, and the files that a step writes to.

After actions/runner, src/Runner.Common/ActionCommand.cs and src/Runner.Worker/FileCommandManager.cs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.workflows.records import Step

SUMMARY_LIMIT = 1024 * 1024
LEVELS = ("error", "warning", "notice")
# Those that the runner still obeys, and those that it refuses today; a message must not reach either.
KNOWN = {*LEVELS, "debug", "group", "endgroup", "add-mask", "add-matcher", "remove-matcher", "echo", "stop-commands"}
REFUSED = {"set-env", "add-path", "set-output", "save-state"}


@dataclass(frozen=True)
class Command:
    """A line that the runner obeys."""

    name: str
    data: str
    properties: dict[str, str]


def commands(output: str) -> Iterator[Command]:
    """The commands in what a step printed to standard output and standard error."""
    stopped = ""
    for line in re.split(r"\r\n|\r|\n", output):
        found = _command(line, KNOWN | REFUSED | ({stopped.lower()} if stopped else set()))
        if found is None:
            continue
        if stopped:
            stopped = "" if found.name == stopped.lower() else stopped
        elif found.name == "stop-commands":
            stopped = found.data
        else:
            yield found


def _command(line: str, known: set[str]) -> Command | None:
    """The form with colons at the start of a line, or the older one with brackets anywhere in it; names in any case."""
    if found := re.match(r"\s*::([^\s:]+)(?: ((?:(?!::).)*))?::(.*)", line):
        name, properties, data = found[1].lower(), found[2] or "", found[3]
        pairs = [part.split("=", 1) for part in properties.strip().split(",") if "=" in part]
        if name in known:
            return Command(name, _unescaped(data), {key: _unescaped(value, "%3A", "%2C") for key, value in pairs})
    if (found := re.search(r"##\[([^\s\]]+)(?: ([^\]]*))?\](.*)", line)) and found[1].lower() in known:
        return Command(found[1].lower(), _unescaped(found[3]), {})
    return None


def _unescaped(text: str, *more: str) -> str:
    for escape in ("%0D", "%0A", *more, "%25"):
        text = text.replace(escape, chr(int(escape[1:], 16)))
    return text


def obey(step: Step) -> list[str]:
    """Put the annotations beside the step, and return what is to be masked."""
    masks = []
    for command in commands(step.output):
        assert command.name not in REFUSED, f"{step.name} printed the command {command.name}, which the runner refuses"
        if command.name in LEVELS:
            step.annotate(command.name, command.data, command.properties.get("title", ""))
        elif command.name == "add-mask":
            masks.append(command.data)
    return masks


class Files:
    """The files of one step, named in its environment."""

    NAMES = ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE")

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.paths = {name: directory / name.lower() for name in self.NAMES}
        for path in self.paths.values():
            path.touch()

    def pairs(self, name: str) -> dict[str, str]:
        """Names and values of GITHUB_OUTPUT or GITHUB_ENV; ValueError for what the runner does not understand."""
        lines = iter(self.paths[name].read_text(encoding="utf-8").split("\n"))
        found: dict[str, str] = {}
        for line in filter(None, lines):
            key, sign, rest = _parts(line)
            if not sign or not key:
                raise ValueError(f"Invalid format '{line}'")
            found[key] = rest if sign == "=" else _heredoc(lines, rest)
        return found

    def lines(self, name: str) -> list[str]:
        """The lines of GITHUB_PATH."""
        return [line for line in self.paths[name].read_text(encoding="utf-8").splitlines() if line]

    def summary(self, step: Step) -> str:
        """The summary as far as GitHub takes it: nothing of one that is too long."""
        written = self.paths["GITHUB_STEP_SUMMARY"].read_bytes()
        if len(written) > SUMMARY_LIMIT:
            step.annotate(
                "error",
                f"$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got {len(written)}",
            )
            return ""
        return written.decode("utf-8")


def _parts(line: str) -> tuple[str, str, str]:
    """Name, sign and rest; of = and << the one that comes first."""
    found = re.match(r"(.*?)(=|<<)(.*)", line)
    return (found[1], found[2], found[3]) if found else (line, "", "")


def _heredoc(lines: Iterator[str], delimiter: str) -> str:
    value: list[str] = []
    for line in lines:
        if line == delimiter:
            return "\n".join(value)
        value.append(line)
    raise ValueError(f"Matching delimiter not found '{delimiter}'")
