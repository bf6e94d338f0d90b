# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pictures of the report of a fresh demo, for the README: make screenshots. Needs chromium and its driver (make packages)."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.checkout import ROOT, Checkout

# What make demo-history and make report do, and the end of the server.
PLAYBOOKS = ("examples.yml", "report.yml")
STOP = "embedded.yml -e embedded_postgres_state=absent"
IMAGES = ROOT / "docs" / "images"
MOST = 150_000  # bytes of a picture
PLACE = "/tmp/vtchat-"  # noqa: S108 - the page says where the server has its socket; mkdtemp makes a private directory


@dataclass(frozen=True)
class Picture:
    """A file, and what is seen through it: light or dark, from which element of the page on, how wide and high, in CSS pixels.

    scale: pixels of the file for each of them.
    """

    name: str
    width: int
    height: int
    scheme: str
    element: str = ""
    scale: float = 0.75

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the file."""
        return round(self.width * self.scale), round(self.height * self.scale)


PICTURES = (
    Picture("report-light", 1200, 1300, "light"),
    Picture("report-dark", 1200, 1320, "dark", "#work"),
    Picture("report-phone", 390, 844, "light", "#plans", 1),
)


@contextmanager
def browser() -> Iterator[Chrome]:
    """Chromium without a window."""
    options = ChromeOptions()
    # --no-sandbox: as root chromium does not run otherwise, and the page is ours.
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--force-color-profile=srgb"):
        options.add_argument(argument)
    opened = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield opened
    finally:
        opened.quit()


def taken(opened: Any, page: Path, picture: Picture) -> bytes:
    """The picture as PNG."""
    screen = {
        "width": picture.width,
        "height": picture.height,
        "deviceScaleFactor": picture.scale,
        "mobile": picture.width < 600,
    }
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = {"features": [{"name": "prefers-color-scheme", "value": picture.scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    opened.get(page.as_uri())
    if picture.element:
        opened.execute_script("document.querySelector(arguments[0]).scrollIntoView()", picture.element)
    image: bytes = opened.get_screenshot_as_png()
    return image


@contextmanager
def page() -> Iterator[Path]:
    """The page of a demo that has nothing but its invented quarter."""
    directory = Path(tempfile.mkdtemp(prefix=PLACE))
    directory.chmod(0o755)  # as root, the server runs as somebody else
    checkout = Checkout(directory)
    (directory / ".venv").symlink_to(Path(sys.prefix))
    try:
        for playbook in PLAYBOOKS:
            checkout.run(f".venv/bin/ansible-playbook -i inventories/demo playbooks/{playbook}")
        yield directory / "report" / "index.html"
    finally:
        checkout.command(f".venv/bin/ansible-playbook -i inventories/demo playbooks/{STOP}")
        shutil.rmtree(directory)


def main() -> int:
    """Write all of them. 1 where one has become too large."""
    large = []
    IMAGES.mkdir(exist_ok=True)
    with page() as made, browser() as opened:
        for picture in PICTURES:
            image = taken(opened, made, picture)
            (IMAGES / f"{picture.name}.png").write_bytes(image)
            print(f"docs/images/{picture.name}.png: {len(image):,} bytes")
            large += [picture.name] if len(image) > MOST else []
    if large:
        print(f"More than {MOST:,} bytes: {', '.join(large)}", file=sys.stderr)
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main())
