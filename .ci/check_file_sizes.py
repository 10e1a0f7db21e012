"""Fail if a file that git tracks is larger than 1 MB."""

import subprocess
import sys
from pathlib import Path

LIMIT = 1_000_000


def main():
    listing = subprocess.run(
        ["git", "ls-files", "-z"], check=True, capture_output=True, text=True
    )
    paths = [Path(name) for name in listing.stdout.split("\0") if name]
    large = [path for path in paths if path.is_file() and path.stat().st_size > LIMIT]
    for path in large:
        print(f"{path} has {path.stat().st_size} bytes, more than {LIMIT}")
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main())
