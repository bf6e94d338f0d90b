# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packages of module_utils and their order: what the tests hold the imports to, and the picture in the documentation."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# From the top down: a package imports from layers below its own, never from its neighbours.
LAYERS: tuple[dict[str, str], ...] = (
    {"_edge": "options, one parse, one way from parameters to a result"},
    {"_pages": "what a page about a database tells"},
    {
        "_alerts": "what has changed, told once, by issues, webhooks and mail",
        "_objects": "functions, views and the like as scripts define them",
        "_rights": "a role with the rights that plans need",
    },
    {"_engine": "run protocol: lock, history, budget, order, result"},
    {"_operations": "one file or folder an operation: facts, decide, execute"},
    {"_checks": "what is measured of a database, with thresholds: one file a subject"},
    {
        "_postgres": "one server: driver, connection, session, names, SQL text, limits",
        "_services": "HTTP: GitHub, Fly, an application's endpoint",
        "_report": "results as text, Markdown, annotations",
        "_module": "AnsibleModule that shows no secret",
    },
    {"_schedule": "when a plan is to run, and at which moments"},
    {
        "_result": "the envelope of all results",
        "_spec": "options and the rules between them",
        "_masking": "every spelling of a secret, and texts without them",
        "_clean": "text fit for a terminal",
        "_origin": "what this is, and where it runs",
        "_hosts": "which hosts are this machine",
        "_errors": "one family of exceptions",
        "_jitter": "waiting times that differ from one client to the next",
        "_units": "counts, sizes and durations for people",
        "_window": "hours of the day in which something may happen",
    },
)


def picture() -> str:
    """The layers as docs/architecture.md shows them."""
    width = max(len(name) for layer in LAYERS for name in layer) + 2
    blocks = ["modules/ action/ callback/".ljust(width + 2) + "  what Ansible loads"]
    blocks += ["\n".join(f"{name:{width}}{what}" for name, what in layer.items()) for layer in LAYERS]
    arrow = f"\n{' ' * 4}|\n"
    return arrow.join(blocks) + "\n"


def package(path: Path, root: Path) -> str:
    """The package of a file of module_utils; a file beside the packages is one of its own."""
    parts = path.relative_to(root).with_suffix("").parts
    return parts[0]


def imports(path: Path, root: Path) -> Iterator[tuple[str, ...]]:
    """What a file imports from module_utils, as dotted parts. What only the type checker reads is none of it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    here = path.relative_to(root).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in skipped:
            base = here[: len(here) - node.level + 1] + tuple((node.module or "").split(".") if node.module else ())
            for alias in node.names:
                yield (*base, alias.name)


def file_of(dotted: tuple[str, ...], root: Path) -> Path | None:
    """The file that an import loads: a module, a name in one, or a package."""
    for parts in (dotted, dotted[:-1]):
        place = root.joinpath(*parts)
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if parts and path.is_file():
                return path
    return None
