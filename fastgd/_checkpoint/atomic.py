"""Replace a file whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import glob
import os
import platform
import threading


def write_atomically(path: str, data: bytes) -> None:
    """Write a file so that, killed at any moment, the old one or the new one is there, whole.

    The bytes go to a temporary file in the same folder, which is the only place that a rename is sure to reach in one
    step. They are on the disk before the rename is, for a file system may do the two in any order, and a power cut
    between them would leave a file of zeros under the right name; and the folder's entry follows.

    Parameters
    ----------
    path : str
        Through a symbolic link, what it leads to is replaced.
    data : bytes

    Raises
    ------
    OSError
        If it cannot be written; the file is then as it was.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    owner = f"{platform.node()}-{os.getpid()}-{threading.get_ident()}"
    temporary = os.path.join(folder, f".{name}.{owner}.part")
    _remove_abandoned(folder, name)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise
    _keep_entry(folder)


def _keep_entry(folder: str) -> None:
    """See to it that a rename in the folder survives a power cut; only POSIX lets one."""
    if os.name != "posix":
        return
    entry = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


def _remove_abandoned(folder: str, name: str) -> None:
    """Remove temporary files of processes of this machine that were killed."""
    pattern = os.path.join(glob.escape(folder), f".{glob.escape(name)}.{glob.escape(platform.node())}-*-*.part")
    for path in glob.glob(pattern):
        process = path.rsplit("-", 2)[1]
        if process.isdecimal() and not _runs(int(process)):
            _remove(path)


def _runs(process: int) -> bool:
    """Whether there is such a process; where nobody can say, there is."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except PermissionError:
        pass
    return True


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except FileNotFoundError:
        pass
