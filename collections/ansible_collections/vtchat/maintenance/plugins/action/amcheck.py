# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loaded by Ansible before it forks its workers, with everything that the module amcheck needs (plugin_utils/_database)."""

from __future__ import annotations

from ansible_collections.vtchat.maintenance.plugins.module_utils._edge import prepared
from ansible_collections.vtchat.maintenance.plugins.plugin_utils._database import DatabaseAction

LOADED = prepared("amcheck")


class ActionModule(DatabaseAction):
    """Does what the module amcheck does."""
