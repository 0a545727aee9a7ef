"""Exit 0 if the running Python and its packages satisfy a requirements file; else say what is missing, and exit 1.

Only the standard library, and fast: it runs at the start of every script in an environment of the user's own.
"""

import re
import sys
from importlib import metadata


def numbers(version: str) -> tuple[int, ...]:
    """ "2.11.0+cu128" -> (2, 11, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0]))


def missing(requirements: str) -> list[str]:
    """Lines of a requirements file (name, or name>=version) that are not satisfied."""
    unmet = []
    for line in requirements.splitlines():
        if not (match := re.match(r"([A-Za-z0-9_.-]+)\s*(?:>=\s*([0-9.]+))?", line.split("#")[0].strip())):
            continue
        name, least = match.groups()
        # the same library under its other name
        names = [name, "opencv-python"] if name == "opencv-python-headless" else [name]
        names += ["onnxruntime-gpu"] if name == "onnxruntime" else []
        found = next((version for version in map(installed, names) if version), None)
        if found is None or (least and numbers(found) < numbers(least)):
            unmet.append(f"{line.strip()} (found: {found or 'nothing'})")
    return unmet


def installed(name: str) -> str | None:
    """Version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit("Python 3.11, 3.12 or 3.13 is needed")
    with open(sys.argv[1], encoding="utf-8") as file:
        unmet = missing(file.read())
    sys.exit("\n".join(unmet) or 0)
