import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from skcaps._replacing import replace_file

posix = pytest.mark.skipif(os.name != "posix", reason="this is so on POSIX")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "file.bin"


@pytest.fixture(autouse=True)
def folder(path):
    path.parent.mkdir()
    return path.parent


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder):
    return sorted(os.listdir(folder))


def test_new_file(path):
    replace_file(path, b"data")
    assert path.read_bytes() == b"data"
    assert names_in(path.parent) == [path.name]


@posix
def test_mode_of_a_new_file(path):
    replace_file(path, b"data")
    plain = path.with_name("plain")
    plain.touch()
    assert mode_of(path) == mode_of(plain)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o777])
def test_mode_stays(path, mode):
    path.write_bytes(b"before")
    path.chmod(mode)
    replace_file(path, b"after")
    assert path.read_bytes() == b"after"
    assert mode_of(path) == mode


@posix
def test_nobody_reads_a_secret_half_way(path, monkeypatch):
    path.write_bytes(b"before")
    path.chmod(0o600)
    seen, sync = [], os.fsync

    def watched(descriptor):
        seen.extend(mode_of(part) for part in path.parent.glob(".*"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    replace_file(path, b"after")
    assert seen == [0o600]


@posix
def test_owner_stays(path, monkeypatch):
    path.write_bytes(b"before")
    asked = []
    monkeypatch.setattr(os, "fchown", lambda file, *owner: asked.append(owner))
    replace_file(path, b"after")
    found = path.stat()
    assert asked == [(found.st_uid, found.st_gid)]


@posix
def test_owner_that_may_not_stay(path, monkeypatch):
    path.write_bytes(b"before")
    path.chmod(0o640)
    asked = []

    def refuse(file, *owner):
        asked.append(owner)
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refuse)
    replace_file(path, b"after")
    assert asked == [(path.stat().st_uid, path.stat().st_gid), (-1, path.stat().st_gid)]
    assert path.read_bytes() == b"after"
    assert mode_of(path) == 0o640


@posix
def test_pipe_is_refused(path):
    os.mkfifo(path)
    with pytest.raises(FileExistsError, match=r"must be a file .* or a pipe"):
        replace_file(path, b"data")
    assert stat.S_ISFIFO(path.stat().st_mode)


@posix
def test_device_is_refused():
    with pytest.raises(FileExistsError, match=r"/dev/null must be a file"):
        replace_file(Path("/dev/null"), b"data")


def test_folder_is_refused(folder):
    with pytest.raises(FileExistsError, match=r"must be a file .* a folder"):
        replace_file(folder, b"data")


def test_missing_folder(folder):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*missing"):
        replace_file(folder / "missing" / "file", b"data")


@posix
def test_link_stays_one(path):
    link = path.with_name("link")
    link.symlink_to(path.name)
    replace_file(link, b"data")
    assert link.is_symlink()
    assert path.read_bytes() == b"data"


@posix
def test_loop_of_links(path):
    path.symlink_to(path.name)
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(path, b"data")


@pytest.mark.parametrize("name", ["a" * 230, "a" * 255, "ä" * 127, "[*]?" * 50])
def test_long_names(path, name):
    for data in (b"before", b"after"):
        replace_file(path.with_name(name), data)
    assert path.with_name(name).read_bytes() == b"after"
    assert names_in(path.parent) == [name]


def test_failed_write_leaves_the_old_file(path, monkeypatch):
    replace_file(path, b"before")

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, b"after")
    assert path.read_bytes() == b"before"
    assert names_in(path.parent) == [path.name]


@posix
def test_folder_is_written_to_the_disk_after_the_file(path, monkeypatch):
    synced, sync = [], os.fsync

    def watched(descriptor):
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    replace_file(path, b"data")
    assert synced == [(False, False), (True, True)]


STALLED = """
import os, sys, time
from pathlib import Path
from skcaps._replacing import replace_file

def stall(descriptor):
    print("writing", flush=True)
    time.sleep(60)

os.fsync = stall
replace_file(Path(sys.argv[1]), b"part" * 1000)
"""


@pytest.fixture
def stalled(path):
    """Another process that writes the same file and does not get on."""
    root = Path(__file__).parents[2]
    other = subprocess.Popen(
        [sys.executable, "-c", STALLED, str(path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert other.stdout.readline().strip() == b"writing"
    yield other
    other.kill()
    other.communicate()


@posix
def test_parts_of_killed_calls_are_removed(path, stalled):
    stalled.send_signal(signal.SIGKILL)
    stalled.wait()
    assert len(names_in(path.parent)) == 1
    replace_file(path, b"data")
    assert names_in(path.parent) == [path.name]


@posix
def test_parts_of_living_calls_are_left_alone(path, stalled):
    (part,) = names_in(path.parent)
    replace_file(path, b"data")
    assert names_in(path.parent) == sorted([part, path.name])
    assert path.read_bytes() == b"data"


@pytest.mark.parametrize(
    "name",
    [".file.bin.part", ".other.bin." + "0" * 32 + ".part", "file.bin." + "0" * 32],
)
def test_files_of_others_are_left_alone(path, name):
    path.with_name(name).write_bytes(b"mine")
    replace_file(path, b"data")
    assert names_in(path.parent) == sorted([name, path.name])


def test_calls_at_the_same_time_do_not_mix(path):
    errors = []

    def write(letter):
        try:
            for _ in range(30):
                replace_file(path, letter * 100_000)
                assert len(set(path.read_bytes())) == 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(c,)) for c in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(path.read_bytes()) == 100_000
    assert names_in(path.parent) == [path.name]


@posix
def test_part_that_was_taken_for_abandoned(path, monkeypatch):
    """It is made anew; only then is it written."""
    from skcaps import _replacing

    lock, taken = _replacing._lock, []

    def locked_late(stream):
        if not taken:
            taken.append(stream.name)
            os.unlink(stream.name)
        lock(stream)

    monkeypatch.setattr(_replacing, "_lock", locked_late)
    replace_file(path, b"data")
    assert len(taken) == 1
    assert path.read_bytes() == b"data"
    assert names_in(path.parent) == [path.name]
