"""Where the files of a data set lie, and how the missing ones come there."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path

ENVIRONMENT_VARIABLE = "SKCAPS_DATA"


def find_home(data_home: str | os.PathLike[str] | None) -> Path:
    """Find the folder that holds a folder for each data set.

    Parameters
    ----------
    data_home : str or path-like or None
        The folder. ``None`` takes the environment variable ``SKCAPS_DATA`` and,
        where that is not set or empty, the cache folder that the operating system
        has for ``skcaps``.

    Returns
    -------
    home : pathlib.Path
        The folder, which need not exist.

    Examples
    --------
    >>> from skcaps.datasets._files import find_home
    >>> find_home("my/data").as_posix()
    'my/data'
    """
    if data_home is not None:
        return Path(data_home)
    from_environment = os.environ.get(ENVIRONMENT_VARIABLE)
    if from_environment:
        return Path(from_environment)
    import pooch

    return Path(pooch.os_cache("skcaps"))


def obtain(
    path: Path, url: str, check: Callable[[Path], object], download_if_missing: bool
) -> Path:
    """Return the path of a file, which is downloaded first where it is missing.

    Parameters
    ----------
    path : pathlib.Path
        Where the file belongs.
    url : str
        Where it comes from.
    check : callable
        Called with the path of the downloaded file, before it gets its name; it
        raises ``ValueError`` where the file is not the right one. A file that is
        there already is not checked, as whoever reads it does that.
    download_if_missing : bool
        Whether a missing file is downloaded.

    Returns
    -------
    path : pathlib.Path
        The given path, at which there is a file now.

    Raises
    ------
    FileNotFoundError
        If the file is missing and must not be downloaded.
    OSError
        If it cannot be downloaded or stored.
    ValueError
        If the downloaded file is not the right one.

    Examples
    --------
    >>> from pathlib import Path
    >>> from skcaps.datasets._files import obtain
    >>> obtain(Path("no/such/file.gz"), "", check=print, download_if_missing=False)
    Traceback (most recent call last):
    FileNotFoundError: no...file.gz does not exist; ...
    """
    if path.is_file():
        return path
    if not download_if_missing:
        raise FileNotFoundError(
            f"{path} does not exist; put the file there, name the folder that holds "
            f"the folder {path.parent.name!r} by data_home or by the environment "
            f"variable {ENVIRONMENT_VARIABLE}, or pass download_if_missing=True."
        )
    download(url, path, check)
    return path


def download(url: str, path: Path, check: Callable[[Path], object]) -> None:
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

    Raises
    ------
    OSError
        If the file cannot be downloaded or stored.
    ValueError
        If it is not the right one.

    Examples
    --------
    >>> from pathlib import Path
    >>> from skcaps.datasets._files import download
    >>> download("https://host/numbers.gz", Path("numbers.gz"), print)  # doctest: +SKIP
    """
    _make_folder(path.parent)
    # A name of its own, and not tempfile's, which only the owner may read.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        _transfer(url, temporary, path)
        _check_download(url, temporary, check)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{folder} must be a folder that can be written to, as files of the data "
            f"set are missing there, got: {error}; name another one by data_home."
        ) from error


def _transfer(url: str, temporary: Path, path: Path) -> None:
    import pooch

    try:
        pooch.HTTPDownloader(progressbar=True)(url, str(temporary), None)
    except OSError as error:  # What requests raises is one as well.
        raise OSError(
            f"{url} could not be downloaded to {path}: {error}; nothing was stored. "
            "Try again, or get the file another way and put it there."
        ) from error


def _check_download(url: str, temporary: Path, check: Callable[[Path], object]) -> None:
    try:
        check(temporary)
    except ValueError as error:
        raise ValueError(
            f"{url} must give the published file, got another one, and nothing was "
            f"stored; try again, or get the file another way. Found: {error}"
        ) from error
