"""Downloads that end: whole and right, or with an error that says why."""

import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, Any

# A file that does not compress becomes longer by less.
_OVERHEAD, _OVERHEAD_SHARE = 1 << 10, 0.01
# A slower server is given up, after these seconds for a file of any size.
_SLOWEST = 32 << 10
_PATIENCE = 60.0


def download(url: str, path: Path, check: Callable[[Path], object], limit: int) -> None:
    """Download a file so that `path` holds the whole, right file or nothing.

    The bytes go to a temporary name beside `path`, are checked there, and get their
    name in one step. Two downloads at the same time do not disturb each other.

    Parameters
    ----------
    url : str
        Where the file comes from.
    path : pathlib.Path
        Where the file goes. Its folder is made where it is missing.
    check : callable
        Called with the path of the temporary file; raises ``ValueError`` where the
        file is not the right one.
    limit : int
        How many bytes the right file has at most, uncompressed. No more are stored,
        and the time for them is limited too.

    Raises
    ------
    OSError
        If the file cannot be downloaded or stored.
    ValueError
        If it is not the right one.

    Examples
    --------
    >>> from pathlib import Path
    >>> from skcaps.datasets._download import download
    >>> path = Path("numbers.gz")
    >>> download("https://host/numbers.gz", path, print, 100)  # doctest: +SKIP
    """
    _make_folder(path.parent)
    limit = int(limit * (1 + _OVERHEAD_SHARE)) + _OVERHEAD
    seconds = _PATIENCE + limit / _SLOWEST
    _remove_abandoned(path, seconds)
    # A name of its own, and not tempfile's, which only the owner may read.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        _transfer(url, temporary, path, limit, seconds)
        _check_download(url, temporary, check)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class _Body:
    """Takes what a server sends, as long as it is wanted and up to so many bytes."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file = file
        self.limit = limit
        self.size = 0
        self.is_wanted = True
        self.answers: list[Any] = []

    def begin(self, answer: Any, **options: Any) -> None:
        """Look at the head of an answer, before any of its body is read."""
        self.answers.append(answer)
        if not answer.ok:
            return
        length = answer.headers.get("Content-Length", "0")
        if not length.isdecimal():
            raise ValueError(
                f"the server's Content-Length must be a number, got {length!r}"
            )
        self._check(int(length))
        if answer.is_redirect:
            # Read to its end by requests otherwise, whether or not it has one.
            for part in answer.iter_content(1 << 10):
                self._count(part)

    def write(self, part: bytes) -> None:
        self._count(part)
        self.file.write(part)

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""

    def close(self) -> None:
        for answer in self.answers:
            answer.close()

    def _count(self, part: bytes) -> None:
        if not self.is_wanted:
            raise ValueError("it is no longer wanted")
        self.size += len(part)
        self._check(self.size)

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise ValueError(
                f"it must have at most {self.limit} bytes, got {size} or more"
            )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{folder} must be a folder that can be written to, as files of the data "
            f"set are missing there, got: {error}; name another one by data_home."
        ) from error


def _remove_abandoned(path: Path, seconds: float) -> None:
    """Remove what killed downloads have left: it is older than any gets."""
    pattern = re.compile(re.escape(path.name) + r"\.[0-9a-f]{32}\.part")
    # What another process has removed by now, or nobody may remove, is left.
    with suppress(OSError):
        for part in path.parent.iterdir():
            is_old = time.time() - part.stat().st_mtime > seconds
            if pattern.fullmatch(part.name) and is_old:
                part.unlink()


def _transfer(
    url: str, temporary: Path, path: Path, limit: int, seconds: float
) -> None:
    try:
        _fetch_in_time(url, temporary, limit, seconds)
    # What requests raises is an OSError as well, except for some malformed headers.
    except (OSError, ValueError) as error:
        raise OSError(
            f"{url} could not be downloaded to {path}: {error}; nothing was stored. "
            "Try again, or get the file another way and put it there."
        ) from error


def _fetch_in_time(url: str, temporary: Path, limit: int, seconds: float) -> None:
    """Fetch in a thread, as nothing else ends a call that gets a byte now and then."""
    with temporary.open("wb") as file:
        body = _Body(file, limit)
        fetched: Future[None] = Future()
        Thread(target=_fetch, args=(url, body, fetched), daemon=True).start()
        try:
            fetched.result(seconds)
        except TimeoutError as error:
            if fetched.done():
                raise
            raise TimeoutError(f"it took more than {seconds:.0f} seconds") from error
        finally:
            body.is_wanted = False


def _fetch(url: str, body: _Body, fetched: Future[None]) -> None:
    import pooch

    hooks = {"response": body.begin}
    try:
        try:
            pooch.HTTPDownloader(progressbar=True, hooks=hooks)(url, body, None)
        finally:
            body.close()
    except BaseException as error:
        fetched.set_exception(error)
    else:
        fetched.set_result(None)


def _check_download(url: str, temporary: Path, check: Callable[[Path], object]) -> None:
    try:
        check(temporary)
    except ValueError as error:
        raise ValueError(
            f"{url} must give the published file, got another one, and nothing was "
            f"stored; try again, or get the file another way. Found: {error}"
        ) from error
