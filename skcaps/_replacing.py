"""Files that are written beside the old one and take its place as a whole."""

from __future__ import annotations

import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # There are no such locks on Windows.
    fcntl = None  # type: ignore[assignment]

# Some file systems allow names of 143 bytes, and 40 follow.
_LONGEST_BEGINNING = 100


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees a part of it, not even after a crash.

    It keeps the mode of the file that it replaces and, where the system lets it, the
    owner. What an earlier call left behind when it was killed is removed.

    Parameters
    ----------
    path : pathlib.Path
    data : bytes

    Raises
    ------
    FileExistsError
        If there is something else than a file, such as a folder or a device.
    FileNotFoundError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skcaps._replacing import replace_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_file(Path(folder) / "file", b"data")
    ...     [path.name for path in Path(folder).iterdir()]
    ['file']
    """
    # A link stays one, and so does a loop of links, which resolve does not like.
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent} to write into.")
    before = _find_file(target)
    _remove_abandoned(target)
    with _part(target) as (part, stream):
        if before is not None:
            _keep_owner_and_mode(stream, before)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
        if fcntl is None:  # Windows moves no open file.
            stream.close()
        part.replace(target)
    _sync_folder(target.parent)


def _find_file(target: Path) -> os.stat_result | None:
    try:
        found = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise FileExistsError(
            f"{target} must be a file or not exist, got a folder, a device or a pipe; "
            "name a file."
        )
    return found


@contextmanager
def _part(target: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Open a new file beside the target, and remove it if it is still there later."""
    while True:
        # tempfile would leave a file that only its owner may read.
        part = target.with_name(f"{_beginning(target)}{uuid.uuid4().hex}.part")
        stream = part.open("xb")
        try:
            with stream:
                _lock(stream)
                # Until it was locked, another call may have taken it for abandoned.
                if part.exists():
                    yield part, stream
                    return
        finally:
            part.unlink(missing_ok=True)


def _remove_abandoned(target: Path) -> None:
    """Remove the parts whose writers were killed: nobody locks them any more."""
    if fcntl is None:
        return
    pattern = re.compile(re.escape(_beginning(target)) + r"[0-9a-f]{32}\.part")
    # A folder may let its files be written and not be listed.
    with suppress(OSError):
        for part in target.parent.iterdir():
            if pattern.fullmatch(part.name) and part.is_file():
                _remove_unlocked(part)


def _remove_unlocked(part: Path) -> None:
    # One that is locked, is gone by now or cannot be opened stays.
    with suppress(OSError), part.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()


def _beginning(target: Path) -> str:
    """Return how the names of all parts of a file begin."""
    encoded = os.fsencode(target.name)[:_LONGEST_BEGINNING]
    return f".{encoded.decode(errors='ignore')}."


def _lock(stream: IO[bytes]) -> None:
    """Lock a file until it is closed or its process ends."""
    # Without locks, as on some network drives, a part of a killed call stays.
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)


def _keep_owner_and_mode(stream: IO[bytes], before: os.stat_result) -> None:
    if os.name != "posix":
        return
    # The owner first, as a change of it takes some bits of the mode away.
    for owner in (before.st_uid, -1):
        with suppress(PermissionError):
            os.fchown(stream.fileno(), owner, before.st_gid)
            break
    os.fchmod(stream.fileno(), stat.S_IMODE(before.st_mode))


def _sync_folder(folder: Path) -> None:
    """Have the new name survive a power failure, on systems that open folders."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
