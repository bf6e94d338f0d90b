# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What continuous integration runs, as outputs of a job of GitHub Actions: one line each, name=JSON. Needs nothing but Python."""

from __future__ import annotations

import json
from pathlib import Path

# The Python that each release of ansible-core is run with; a newer release may not run on an older Python.
PYTHONS = {"2.18": "3.11", "2.19": "3.12", "2.20": "3.13", "2.21": "3.13"}
# Of `make test`, what can run side by side.
STAGES = ("lint", "test-python", "sanity", "galaxy", "molecule")
ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
COLLECTION = ROOT / "collections/ansible_collections/vtchat/maintenance"


def versions() -> list[dict[str, str]]:
    """Each supported PostgreSQL with each supported ansible-core: those that there is a lock of."""
    servers = sorted(path.stem for path in (LOCKS / "postgresql").glob("*.txt"))
    cores = sorted(path.stem for path in (LOCKS / "core").glob("*.txt"))
    return [{"postgresql": server, "core": core, "python": PYTHONS[core]} for server in servers for core in cores]


def lines() -> list[str]:
    """The outputs, as they are written to GITHUB_OUTPUT."""
    return [f"versions={json.dumps(versions())}", f"stages={json.dumps(STAGES)}"]


if __name__ == "__main__":
    print(*lines(), sep="\n")
