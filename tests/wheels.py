"""Which files the index has for each package of the lock: written by `make lock`, so that a test needs no network.

Names only: no address of an index stands in the repository.
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

WHEELS = Path(__file__).parents[1] / "requirements.wheels"
"""One file name a line, sorted."""


def file_names(lock: Mapping[str, Any]) -> Iterator[str]:
    """The wheels of a `pylock.toml`, and the source archive of a package that has no wheel."""
    for package in lock["packages"]:
        yield from (_file_name(file) for file in package.get("wheels") or [package["sdist"]])


def _file_name(file: Mapping[str, str]) -> str:
    return file.get("name") or file["url"].rpartition("/")[2]


if __name__ == "__main__":
    WHEELS.write_text("".join(f"{name}\n" for name in sorted(file_names(tomllib.load(sys.stdin.buffer)))))
