# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change in any release.

"""The error codes of PostgreSQL that mean something to us, by their names in the manual's appendix A."""

from __future__ import annotations

QUERY_CANCELED = "57014"  # by statement_timeout, or by somebody
LOCK_NOT_AVAILABLE = "55P03"  # by lock_timeout, or NOWAIT
DEADLOCK_DETECTED = "40P01"
SERIALIZATION_FAILURE = "40001"
UNIQUE_VIOLATION = "23505"
FOREIGN_KEY_VIOLATION = "23503"
RESTRICT_VIOLATION = "23001"  # from PostgreSQL 18 on, where the key says RESTRICT
CHECK_VIOLATION = "23514"
INVALID_OBJECT_DEFINITION = "42P17"  # such as: a partition would overlap another one
CARDINALITY_VIOLATION = "21000"
SYNTAX_ERROR = "42601"
DUPLICATE_TABLE = "42P07"
DUPLICATE_COLUMN = "42701"
DUPLICATE_FUNCTION = "42723"
DUPLICATE_OBJECT = "42710"
DUPLICATE_SCHEMA = "42P06"
INSUFFICIENT_PRIVILEGE = "42501"
UNDEFINED_TABLE = "42P01"
UNDEFINED_FUNCTION = "42883"
UNDEFINED_OBJECT = "42704"
INVALID_SCHEMA_NAME = "3F000"
INTERNAL_ERROR = "XX000"  # such as: cache lookup failed for relation, which was there a moment ago
DATA_EXCEPTION = "22"  # the class of all errors about a value
INVALID_PARAMETER_VALUE = "22023"
UNDEFINED_FILE = "58P01"
IO_ERROR = "58030"
DATA_CORRUPTED = "XX001"
INDEX_CORRUPTED = "XX002"

# A row cannot go, because others refer to it.
REFERRED = frozenset({FOREIGN_KEY_VIOLATION, RESTRICT_VIOLATION})

# What an error means that a check of a table or index ends with. Upon what cannot be, the server says that of itself.
CORRUPT = frozenset({DATA_CORRUPTED, INDEX_CORRUPTED, IO_ERROR, INTERNAL_ERROR})

# Somebody else was in the way, and may not be the next time: not a failure.
CONTENDED = frozenset({LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED, SERIALIZATION_FAILURE})
