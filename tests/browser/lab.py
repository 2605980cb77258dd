"""Debian's chromium, without a screen or a network, as a test drives it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

SHOTS = Path(__file__).parent.parent.parent / ".screenshots"
LOCAL = ("file:", "data:", "blob:", "about:")
_FLAGS = (
    "--headless=new",
    "--disable-dev-shm-usage",  # a container's /dev/shm may hold 64 MB
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
_ALLOWED = ["clipboardReadWrite", "clipboardSanitizedWrite"]
_SENT = {"Network.requestWillBeSent": "request", "Network.webSocketCreated": None}


class Device(NamedTuple):
    """A screen, in CSS pixels."""

    width: int
    height: int
    phone: bool = False


DESKTOP = Device(1280, 900)
PHONE = Device(360, 740, phone=True)


class Browser:
    """A browser with a profile of its own. `driver` is selenium's, for whatever has no name here."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, device: Device = DESKTOP, *, dark: bool = False, fragment: str = "") -> None:
        """Open a file on this device; return when its `load` event is over."""
        self.device(device)
        self.dark(dark)
        self.driver.get(f"{page.absolute().as_uri()}{fragment}")

    def device(self, device: Device) -> None:
        """Make the screen this large from now on; a phone has a finger, and no mouse."""
        metrics = {"width": device.width, "height": device.height, "deviceScaleFactor": 1, "mobile": device.phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": device.phone})

    def dark(self, dark: bool) -> None:
        """Let `prefers-color-scheme` say dark or light from now on."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def find(self, selector: str) -> WebElement:
        """Return the first element of this CSS selector; raises NoSuchElementException."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *values: object) -> Any:
        """Return what this body of a JavaScript function returns, or what the promise it returns leads to."""
        return self.driver.execute_script(script, *values)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the screen."""
        return int(self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def clipboard(self) -> str:
        """Return the text that was copied last."""
        return str(self.run("return navigator.clipboard.readText()"))

    def console(self) -> list[str]:
        """Return, once, what the console said since it was asked last: each message and each uncaught error."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """Return, once, the addresses asked for since this was called last, without those on this machine."""
        said = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [one for one in said if one["method"] in _SENT]
        urls = [(one["params"].get(_SENT[one["method"]]) or one["params"])["url"] for one in sent]
        return [url for url in urls if not url.startswith(LOCAL)]

    def screenshot(self, name: str, *, whole: bool = False) -> Path:
        """Keep what is on the screen, or the whole page, as .screenshots/NAME.png, for people to look at."""
        taken = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": whole} | self._area(whole)
        )
        SHOTS.mkdir(exist_ok=True)
        path = SHOTS / f"{name}.png"
        path.write_bytes(base64.b64decode(taken["data"]))
        return path

    def _log(self, name: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(name)  # type: ignore[no-untyped-call]
        return entries

    def _area(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}


@contextmanager
def browsing() -> Iterator[Browser]:
    """Yield a browser that was just started (in about half a second), and end it."""
    options = ChromeOptions()
    for flag in _FLAGS:
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which chromium refuses to root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("perfLoggingPrefs", {"enableNetwork": True, "enablePage": False})
    # By name: selenium would look for one on the network.
    options.binary_location = _path("chromium")
    with tempfile.TemporaryDirectory(prefix="browser-") as folder:  # it leaves a folder at each start
        driver = Chrome(options=options, service=Service(_path("chromedriver"), env=os.environ | {"TMPDIR": folder}))
        try:
            driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": _ALLOWED})
            yield Browser(driver)
        finally:
            driver.quit()


def _path(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is missing: bash tests/browser/install.sh"
    return path
