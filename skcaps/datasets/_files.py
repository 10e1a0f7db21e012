"""Where the files of a data set lie, and how the missing ones come there."""

import os
from collections.abc import Callable
from pathlib import Path

from skcaps.datasets._download import download

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
    path: Path,
    url: str,
    *,
    check: Callable[[Path], object],
    limit: int,
    download_if_missing: bool,
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
    limit : int
        How many bytes the published file has at most, uncompressed.
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
    >>> path = Path("no/such/file.gz")
    >>> obtain(path, "", check=print, limit=0, download_if_missing=False)
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
    download(url, path, check, limit)
    return path
