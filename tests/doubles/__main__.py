# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A double in a process of its own, for the roles' scenarios: python tests/doubles github|fly FOLDER

It writes its address and process id into FOLDER/double.json, and after each request what it holds into FOLDER/state.json. Where
a client did what it must not, the state has ``violations``. It ends by SIGTERM, or when the folder is gone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

TOKENS = {"github": "github_pat_11SCENARIO", "fly": "fm2_lJPECscenario"}


def main(kind: str, folder: Path) -> None:
    from tests.doubles import contract
    from tests.doubles.fly import Fly
    from tests.doubles.github import GitHub

    double: Any
    if kind == "github":
        double = GitHub(contract.load(), TOKENS[kind])
    else:
        double = Fly()
        double.add_app("shop", TOKENS[kind])

    def state() -> dict[str, Any]:
        if kind == "github":
            held = {name: place.values() for name, place in double.places.items()}
        else:
            held = {name: app.values for name, app in double.apps.items()}
        return {"values": held, "violations": double.violations, "requests": len(double.requests)}

    decorate = double.decorate

    def kept(request: Any, reply: Any) -> Any:
        _write(folder / "state.json", state())
        return decorate(request, reply)

    double.decorate = kept
    _write(folder / "double.json", {"url": double.url, "pid": os.getpid(), "token": TOKENS[kind]})
    while folder.is_dir():
        time.sleep(0.2)


def _write(path: Path, value: dict[str, Any]) -> None:
    """In one step: who reads it sees the old or the new."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(value), encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
