"""Files in zip archives, with errors that say what is wrong."""

import struct
import zipfile
import zlib
from pathlib import Path

from skcaps.datasets._bytes import read_all

# What zipfile raises depends on where an archive is damaged.
DAMAGES = (
    EOFError, LookupError, OSError, OverflowError, RuntimeError, ValueError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytearray:
    """Read a file in an archive, up to its checksum.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The archive.
    name : str
        The name of the file.
    limit : int
        How many bytes the published file has at most, uncompressed.

    Returns
    -------
    raw : bytearray
        Its uncompressed content.

    Raises
    ------
    KeyError
        If there is no such file.
    ValueError
        If it holds more, or is compressed by a method other than deflation; one of
        `DAMAGES` if it is damaged.

    Examples
    --------
    >>> import io, zipfile
    >>> from skcaps.datasets._zip import read_member
    >>> with zipfile.ZipFile(io.BytesIO(), "w") as archive:
    ...     archive.writestr("numbers", b"123")
    ...     read_member(archive, "numbers", limit=3)
    bytearray(b'123')
    """
    member = archive.getinfo(name)
    # What other methods ask for to uncompress a file has no limit.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{name} must be deflated, got the method {member.compress_type}"
        )
    with archive.open(member) as content:
        return read_all(Path(name), content.read, limit)
