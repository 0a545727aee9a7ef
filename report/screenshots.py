"""python -m report.screenshots PAGE.html... --out DIR: pictures of players and reports, as the README shows them."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from util.cli import run_main
from util.errors import InputError
from util.files import written_whole

_WINDOW_HEIGHT = 900
_JPEG_QUALITY = 80
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Path of a Chromium: the variable CHROMIUM, else the one that the distribution installed, else None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _BROWSERS)), None)


def main(argv: list[str] | None = None) -> int:
    """Take pictures of pages."""
    parser = argparse.ArgumentParser(prog="python -m report.screenshots", description=__doc__)
    parser.add_argument("pages", nargs="+", metavar="PAGE.html", help="players or reports")
    parser.add_argument("--out", default=".", metavar="DIR", help="folder for the pictures [.]")
    parser.add_argument("--at", type=float, metavar="S", help="time in a player [where most predictions are]")
    parser.add_argument("--view", metavar="NAME", help="view of a player: picture, around, panorama, sphere")
    parser.add_argument("--width", type=int, default=1440, metavar="PX", help="width of the window [1440]")
    parser.add_argument(
        "--height",
        type=int,
        metavar="PX",
        help="a report at most this high: it ends with the last section that fits [the whole page]",
    )
    parser.add_argument("--jpg", action="store_true", help="write .jpg, smaller than .png")
    parser.add_argument("--name", metavar="A,B", help="what to call the pictures [names of the pages]")
    args = parser.parse_args(argv)
    paths = [Path(path) for path in args.pages]
    names = args.name.split(",") if args.name else [path.stem for path in paths]
    if len(names) != len(paths):
        raise InputError(f"--name gives {len(names)} names for {len(paths)} pages")
    for path in paths:
        if not path.is_file():
            raise InputError("no such file", path=path)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("taking pictures needs playwright: pip install playwright") from None
    browser_path = find_browser()
    if browser_path is None:
        raise InputError("taking pictures needs Chromium: apt-get install chromium, or its path in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"]
        )
        for path, name in zip(paths, names):
            page = browser.new_page(viewport={"width": args.width, "height": _WINDOW_HEIGHT})
            page.goto(path.resolve().as_uri())
            whole = args.height is None
            if page.evaluate("window.player !== undefined"):
                whole = True
                _prepare_player(page, args.at, args.view)
            else:
                page.wait_for_timeout(1500)
                if args.height is not None:
                    ends = page.evaluate(
                        "[...document.querySelectorAll('section')].map(s => s.getBoundingClientRect().bottom + scrollY)"
                    )
                    page.set_viewport_size({"width": args.width, "height": picture_height(ends, args.height)})
                    page.wait_for_timeout(300)
            out = Path(args.out) / f"{name}.{'jpg' if args.jpg else 'png'}"
            kind = {"type": "jpeg", "quality": _JPEG_QUALITY} if args.jpg else {"type": "png"}
            with written_whole(out) as temporary:
                page.screenshot(path=temporary, full_page=whole, **kind)
            print(out)
            page.close()
        browser.close()
    return 0


def picture_height(section_ends: list[float], most: int) -> int:
    """Height of a picture that ends with the last section that fits into `most` pixels; `most` where none does."""
    fitting = [end for end in section_ends if end <= most]
    return math.ceil(max(fitting)) if fitting else most


def _prepare_player(page: Any, at_s: float | None, view: str | None) -> None:
    """Bring a player to a time and a view, and wait until its picture is there."""
    if at_s is None:
        at_s = page.evaluate("player.busiest()")
    if view is not None:
        page.evaluate("name => player.setView(name)", view)
    end = time.monotonic() + 20
    page.evaluate("t => player.seek(t)", at_s)
    while not page.evaluate("player.media === null || (!player.media.seeking && player.media.readyState >= 2)"):
        if time.monotonic() > end:
            raise InputError("the player's video does not load")
        page.wait_for_timeout(50)
    page.evaluate("player.drawNow()")
    page.wait_for_timeout(400)


if __name__ == "__main__":
    sys.exit(run_main(main))
