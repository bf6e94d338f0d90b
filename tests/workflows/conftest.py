# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A place at GitHub for small workflows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflows import language
from tests.workflows.hub import Repository
from tests.workflows.runner import Actions
from tests.workflows.shell import Shell


@pytest.fixture
def github(tmp_path: Path) -> Actions:
    """A repository without workflows, whose runs execute."""
    return Actions(language.load(), Repository("octo/app", {}), tmp_path, performer=Shell(tmp_path))
