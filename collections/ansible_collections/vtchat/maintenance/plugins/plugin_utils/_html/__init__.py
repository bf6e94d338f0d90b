# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""Reports as pages that need nothing but themselves: no script, no network, one file each.

A report is the dict that the module ``report`` returns. ``bounds`` cuts what is too long. What is shown is decided in
``verdict``, ``findings``, ``plans``, ``runs`` and ``growth``; ``scales``, ``drawing`` and ``squares`` know where everything of a
chart is; templates/ has the markup and the style.
"""

from __future__ import annotations

from .render import overview, page
from .verdict import glance

__all__ = ["glance", "overview", "page"]
