# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""What modules promise. Where two say something about the same attribute, the module wins, then the fragment named first."""

from __future__ import annotations


class ModuleDocFragment:
    """attributes: of every database module. attributes.info: of those that only read; named before the former."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Decides and returns what a run would do, with the reasons, and executes nothing.
    support: full
  diff_mode:
    description: Shows what is there before and afterwards.
    support: none
  idempotent:
    description: A second run right after the first changes nothing, and says for each target why.
    support: full
  action_group:
    description: Defaults for C(group/vtchat.maintenance.all) in C(module_defaults) apply.
    support: full
    membership:
      - vtchat.maintenance.all
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Only reads, in check mode as otherwise.
    support: full
  diff_mode:
    description: Changes nothing that could be compared.
    support: N/A
  idempotent:
    description: Only reads.
    support: full
"""
