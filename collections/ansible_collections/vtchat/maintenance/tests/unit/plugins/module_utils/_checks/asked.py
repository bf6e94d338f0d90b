# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What checks are asked with in tests that have no server."""

from __future__ import annotations

from datetime import datetime, timezone

from ansible_collections.vtchat.maintenance.plugins.module_utils._checks import Asked
from ansible_collections.vtchat.maintenance.plugins.module_utils._checks.judge import Judge
from ansible_collections.vtchat.maintenance.plugins.module_utils._postgres.server import Server

SERVER = Server(
    host="", version_num=160000, version="16", database="app", database_oid=1, user="me", may_create_schema=True,
    in_recovery=False, backend_pid=1, backend_start=datetime(2026, 1, 1, tzinfo=timezone.utc), path="", schemas=[],
    read_only=False, replication_role="origin", track_counts=True, extensions={}, provider="postgresql",
)  # fmt: skip
ASKED = Asked(SERVER)
NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
JUDGE = Judge(ASKED, NOW)
