#!/usr/bin/python
# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintainer
short_description: A login role with exactly the rights that maintenance plans need
version_added: 1.0.0
description:
  - Creates the role if it does not exist, and gives it what the steps of its plans need and what it does not have yet, be it
    through C(PUBLIC) or through another role.
  - C(purge) needs C(SELECT) and C(DELETE) on the table and C(UPDATE) on its column, because rows are locked first.
    C(refresh), C(analyze), C(vacuum) and C(reindex) need C(MAINTAIN) from PostgreSQL 17 on; before, and for C(index), membership
    in the
