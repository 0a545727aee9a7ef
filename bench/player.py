"""How heavy and how smooth the player of a long recording is: size, opening, seeking, threshold, pictures per second.

python bench/player.py                                ten minutes, 13 classes, video 960x480 at 10 frames/s
python bench/player.py --seconds 1800 --keep long.html

Measured in the Chromium that the tests use (no GPU: everything is drawn by the processor).
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.machine import processor
from report.media import browser_media
from report.player import write_player
from report.screenshots import find_browser
from util.cpus import cpu_count
from util.errors import InputError
from util.microphone_arrays import ARRAYS

ARGUMENTS = [
    "--no-sandbox",
    "--use-gl=swiftshader",
    "--enable-unsafe-swiftshader",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
]
_PLAYED_S = 5


def main(argv: list[str] | None = None) -> int:
    """Make the page, open it, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="length of the recording [600]")
    parser.add_argument("--width", type=int, default=960, help="of the video in pixels, twice its height [960]")
    parser.add_argument("--fps", type=int, default=10, help="frames per second of the video [10]")
    parser.add_argument("--seeks", type=int, default=20, help="seeks to random times, of which the median counts [20]")
    parser.add_argument("--keep", metavar="HTML", help="keep the page")
    args = parser.parse_args(argv)
    browser = find_browser()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        browser = None
    if browser is None:
        raise InputError("needs playwright (pip install playwright) and Chromium")
    print(f"{processor()}, {cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        path = _page(Path(name), args)
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        print(f"Chromium {chromium.version}, window 1440x900")
        _measure(chromium, path, args)
        chromium.close()
        if args.keep:
            shutil.copy(path, args.keep)
    return 0


def _page(folder: Path, args: argparse.Namespace) -> Path:
    """Write the page and say what it consists of."""
    from tests.report_material import LONG_CLASSES, make_long_clip

    start = time.perf_counter()
    size = {"width": args.width, "height": args.width // 2}
    clip = make_long_clip(folder, seconds=args.seconds, **size, fps=args.fps, textured=True)
    made_s, start = time.perf_counter() - start, time.perf_counter()
    path = folder / "player.html"
    total = write_player(
        path,
        candidates=clip.candidates,
        thresholds=0.3,
        unification_deg=15.0,
        classes=LONG_CLASSES,
        title="long recording",
        reference=clip.reference,
        audio=clip.audio,
        video=clip.video,
        boxes=clip.boxes,
        array=ARRAYS["foa"],
    )
    written_s = time.perf_counter() - start
    media = {
        "video": browser_media(audio=None, video=clip.video, array=ARRAYS["foa"]),
        "audio": browser_media(audio=clip.audio, video=None, array=ARRAYS["foa"]),
    }
    parts = {name: len(one.content) * 4 / 3e6 for name, one in media.items() if one is not None}
    print(
        f"{args.seconds / 60:g} min, {len(LONG_CLASSES)} classes, video {args.width}x{args.width // 2} at {args.fps}/s "
        f"(made in {made_s:.0f} s, page written in {written_s:.1f} s)"
    )
    rest = total / 1e6 - sum(parts.values())
    print(f"size: {total / 1e6:.1f} MB (video {parts['video']:.1f}, sound {parts['audio']:.1f}, the rest {rest:.1f})")
    return path


def _measure(chromium: Any, path: Path, args: argparse.Namespace) -> None:
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    start = time.perf_counter()
    page.goto(path.as_uri())
    while not page.evaluate("window.player !== undefined && player.media.readyState >= 3"):
        page.wait_for_timeout(10)
    print(f"opening: {time.perf_counter() - start:.2f} s until it can play")
    page.evaluate(f"player.show(0, {args.seconds})")
    moved_ms = page.evaluate(
        """() => [0.4, 0.5, 0.6, 0.35, 0.7].map(value => {
            const start = performance.now();
            player.setThreshold(value);
            player.drawNow();
            return performance.now() - start;
        })"""
    )
    print(f"moving the threshold: {statistics.median(moved_ms):.0f} ms ({min(moved_ms):.0f} to {max(moved_ms):.0f})")
    rng = random.Random(0)
    seeks_ms = [
        page.evaluate(
            """time_s => new Promise(done => {
                const start = performance.now();
                player.media.addEventListener('seeked', () => {
                    player.drawNow();
                    done(performance.now() - start);
                }, { once: true });
                player.seek(time_s);
            })""",
            rng.uniform(0, args.seconds - 1),
        )
        for _ in range(args.seeks)
    ]
    print(f"seek: {statistics.median(seeks_ms):.0f} ms ({min(seeks_ms):.0f} to {max(seeks_ms):.0f})")
    for span_s in (min(60, args.seconds), args.seconds):
        page.evaluate("span => { player.seek(1); player.show(0, span); }", span_s)
        page.click("#play")
        drawn, longest_ms, dropped, shown, moved_s = page.evaluate(
            """seconds => new Promise(done => {
                const before = player.media.getVideoPlaybackQuality(), from = player.media.currentTime;
                const begin = performance.now();
                let count = 0, last = begin, longest = 0;
                const count_one = now => {
                    count += 1;
                    longest = Math.max(longest, now - last);
                    last = now;
                    if (now - begin < 1000 * seconds) return requestAnimationFrame(count_one);
                    const after = player.media.getVideoPlaybackQuality();
                    done([count / ((now - begin) / 1000), longest,
                          after.droppedVideoFrames - before.droppedVideoFrames,
                          after.totalVideoFrames - before.totalVideoFrames, player.media.currentTime - from]);
                };
                requestAnimationFrame(count_one);
            })""",
            _PLAYED_S,
        )
        page.click("#play")
        print(
            f"playing with {span_s:g} s in view: {drawn:.0f} pictures/s, longest pause {longest_ms:.0f} ms, "
            f"{dropped} of {shown} video frames dropped, {moved_s:.1f} s played in {_PLAYED_S} s"
        )


if __name__ == "__main__":
    sys.exit(main())
