"""Pictures of parts of a page, for the gallery: `python docs/site/pictures.py PAGE NAME=SELECTOR...`.

Each becomes docs/gallery/NAME.png, 960 pixels wide, in 64 colours. Needs playwright, pillow and Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parents[1] / "gallery"
WIDTH, COLOURS = 960, 64


def main(page: Path, parts: dict[str, str]) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": WIDTH, "height": 1200}, color_scheme="light")
        shown.goto(page.resolve().as_uri())
        shown.wait_for_timeout(500)
        for name, selector in parts.items():
            picture = Image.open(io.BytesIO(shown.locator(selector).first.screenshot())).convert("RGB")
            target = FOLDER / f"{name}.png"
            picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
            print(f"{target}: {picture.width} x {picture.height}, {target.stat().st_size:,} bytes")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(part.split("=", 1) for part in sys.argv[2:]))
