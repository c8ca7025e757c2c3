"""Whether the disk below a directory has room. A full one stops databases, logs and blobs alike, so it has one name."""

import errno
import shutil
from pathlib import Path

FULL_BELOW_BYTES = 64 * 1024 * 1024
"""With less than this a database may refuse its next write."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def free_bytes(directory: Path) -> int:
    """What may still be written below `directory`, or below what it will be made in."""
    place = next(each for each in (directory.absolute(), *directory.absolute().parents) if each.exists())
    return shutil.disk_usage(place).free


def is_full(directory: Path) -> bool:
    """Whether there is too little room to work with."""
    return free_bytes(directory) < FULL_BELOW_BYTES


def in_words(error: OSError) -> str:
    """What kept a file from being written, and where: a full disk, or the user's part of it, by that name."""
    what = "the disk is full" if error.errno in _NO_ROOM else error.strerror or type(error).__name__
    return f"{what} ({error.filename})" if error.filename else what
