# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that came out: in what was printed, or in a file that was left behind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ansible_collections.vtchat.maintenance.tests.unit.plugins.spellings import spellings

# What brings the secrets in.
INPUTS = ("play.yml", "variables.json")


def leaks(directory: Path, secrets: Iterable[str], *outputs: str) -> list[str]:
    """Where a spelling of a secret is to be read, given outputs and the directory that everything was written to."""
    needles = set().union(*map(spellings, secrets))
    texts = {f"output {number}": text for number, text in enumerate(outputs, 1)}
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in INPUTS:
            texts[str(path.relative_to(directory))] = path.read_bytes().decode("utf-8", "replace")
    found = [(name, text, needle) for name, text in texts.items() for needle in needles if needle in text]
    return [f"{name}: …{text[max(0, text.index(needle) - 60) : text.index(needle)]}" for name, text, needle in found]
