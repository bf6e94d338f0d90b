# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A browser for tests: Debian's Chromium without a window, by its own driver. Nothing is downloaded."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.workflows.language import installed

HEIGHT = 900
A4 = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True, "printBackground": True}


class Browser:
    """One window. What it says and asks for since the last page was opened is in ``messages`` and ``requests``."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self._axe = (installed() / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")

    def open(self, page: Path | str, width: int = 1440, scheme: str = "light", media: str = "") -> None:
        """Show a file or an address, in a window so wide, for somebody who likes it light or dark."""
        self.look(width, scheme, media)
        self.messages()
        self.requests()
        self.driver.get(page.as_uri() if isinstance(page, Path) else page)

    def look(self, width: int, scheme: str = "light", media: str = "") -> None:
        """Show the same page otherwise."""
        scheme_of = [{"name": "prefers-color-scheme", "value": scheme}]
        self._command("Emulation.setEmulatedMedia", media=media, features=scheme_of)
        self._command(
            "Emulation.setDeviceMetricsOverride", width=width, height=HEIGHT, deviceScaleFactor=1, mobile=False
        )

    def letters(self, size: int = 16) -> None:
        """How large somebody likes letters, in pixels."""
        self._command("Page.setFontSizes", fontSizes={"standard": size})

    def messages(self) -> list[str]:
        """What stands in the console."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses of all that was asked for."""
        log = self.driver.get_log("performance")
        told = [json.loads(entry["message"])["message"] for entry in log]
        return [one["params"]["request"]["url"] for one in told if one["method"] == "Network.requestWillBeSent"]

    def ask(self, script: str, *arguments: Any) -> Any:
        """What a function of this body returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def unfold(self) -> None:
        """Open all that is folded."""
        self.ask("document.querySelectorAll('details').forEach(one => { one.open = true })")

    def faults(self) -> list[str]:
        """What axe-core does not like, of all its rules."""
        self.ask(self._axe)
        told = self.driver.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then(arguments[0])")
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in told["violations"] for node in one["nodes"]
        ]

    def screenshot(self, path: Path, height: int = 4000) -> None:
        """A picture of the page from its top on."""
        width, whole = self.ask("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(whole, height), "scale": 1}
        told = self._command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(told["data"]))

    def pages(self) -> int:
        """How many sheets of A4 the page is when it is printed."""
        printed = base64.b64decode(self._command("Page.printToPDF", **A4)["data"])
        return len(re.findall(rb"/Type\s*/Page\b", printed))

    def _command(self, name: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, parameters)


@contextmanager
def browser(home: Path) -> Iterator[Browser]:
    """A browser that keeps what it has to in ``home``; without one the test is skipped, in continuous integration it fails."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs and not os.environ.get("CI"):
        pytest.skip("needs chromium and chromedriver: make packages")
    assert programs[0], "there is no chromium: make packages"
    assert programs[1], "there is no chromedriver: make packages"
    options = ChromeOptions()
    options.binary_location = programs[0]
    # The sandbox needs rights that neither root nor a container has; what is opened are pages of our own.
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars",
                     f"user-data-dir={home / 'profile'}"):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = ChromeService(programs[1], env={**os.environ, "HOME": str(home)})
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("no_proxy", "*")  # the driver is on this machine
        driver = Chrome(options=options, service=service)
        driver.set_script_timeout(120)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
