"""Atomic writing: a file or folder appears whole or not at all, and what was there stays until then.

Reading what others brought: regular files alone, up to a stated size.

A folder is made beside its place and put there by one exchange of names where the system has it (Linux and
macOS), and by two renames elsewhere. Whoever makes one holds a lock on it, so that the next to write there
knows what an ended process left, puts back an old folder that lies aside, and removes the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from serq_mcu.errors import SerqError

if sys.platform != "win32":
    import fcntl

_OURS = ".serq-"  # in the names of what is being made
_ASIDE = ".old"  # ends the name of an old folder, between two renames
_LEAST = 16_384  # bytes that a disk must have for any output
_LONGEST = 200  # bytes of a name that temporary names can contain
_AT_FDCWD = {"linux": -100, "darwin": -2}
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # this kernel or file system has none
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
MOST_TEXT = 16 * 2**20  # bytes of a text file that is read whole


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading bytes; links are followed.

    Raises OSError, at once, for anything else: a pipe that nobody writes to would wait for ever, and a device
    such as /dev/zero never ends.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            what = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe or a device"
            raise OSError(errno.EINVAL, f"it is {what}, and a file is needed", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, most: int = MOST_TEXT) -> bytes:
    """Read a whole regular file of at most `most` bytes.

    Raises OSError for a larger one and for what `open_regular` refuses.
    """
    with open_regular(path) as file:
        stated = os.fstat(file.fileno()).st_size
        data = file.read(most + 1) if stated <= most else b""
    if max(stated, len(data)) > most:
        raise _too_large(path, most)
    return data


def file_digest(path: Path, most: int) -> bytes:
    """Compute the SHA-256 of a regular file of at most `most` bytes, piece by piece.

    Raises OSError for a larger one and for what `open_regular` refuses.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise _too_large(path, most)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _too_large(path: Path, most: int) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {most / 2**20:g} MiB", str(path))


def write_file(path: Path, content: bytes | str) -> Path:
    """Write `content` to `path` through a temporary file beside it, and return the path.

    A pipe or a character device, such as /dev/null, is written to and stays what it is. Raises SerqError if
    the folder cannot be written, and for what is neither that nor a regular file.
    """
    data = content.encode() if isinstance(content, str) else content
    with _writing(path):
        if _is_stream(path):
            _write_stream(path, data)
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        name, handle = _held(lambda: tempfile.mkstemp(dir=path.parent, prefix=_prefix(path)))
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.chmod(name, 0o666 & ~_umask())
                os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    return path


def check_file(path: Path, needed: int = _LEAST) -> None:
    """Raise SerqError where `write_file` would refuse the path; for before long work.

    needed: bytes that the disk must have. Nothing is written, and missing folders are not made.
    """
    with _writing(path):
        if not _is_stream(path):
            _check_parent(path, needed)


def check_folder(path: Path, marker: str, needed: int = _LEAST) -> None:
    """Raise SerqError where `new_folder` would refuse the path; for before long work.

    needed: bytes that the disk must have. Nothing is written, and missing folders are not made.
    """
    with _writing(path):
        _check_parent(_free_place(path, marker), needed)


def kept_if_refused(write: Callable[[Path], object], path: Path) -> None:
    """Call `write` with the path; if it is refused, with one of its name in a folder for temporary files.

    write: writes a file or a folder. Raises SerqError for the refusal, and says where what was computed is.
    """
    try:
        write(path)
    except SerqError as error:
        try:
            kept = Path(tempfile.mkdtemp(prefix="serq-kept-")) / path.name
            write(kept)
        except (OSError, SerqError):
            raise error from None
        raise SerqError(f"{error}; what was made is in {kept}") from error


def open_log(path: Path) -> TextIO:
    """Open a text file to write to, line by line; raises SerqError for a link, a device or a pipe."""
    with _writing(path):
        if _is_stream(path):
            raise SerqError(f"{path} is a pipe or a device; remove it")
        return path.open("w", encoding="utf-8", errors="replace")


@contextlib.contextmanager
def new_folder(path: Path, marker: str) -> Iterator[Path]:
    """Yield a temporary folder that replaces `path` when the block ends well, and vanishes when it does not.

    An existing folder is replaced only if it is empty or holds the file `marker`, a sign that we made it; it
    stays whole until the new one is. A link to a folder stays, and the folder is replaced. If the finished
    folder cannot be put in its place, it stays beside it. Raises SerqError for any other existing folder or
    where nothing can be written.
    """
    with _writing(path):
        place = _free_place(path, marker)
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        fresh, lock = _held(lambda: _temporary_folder(place))
    try:
        os.chmod(fresh, 0o777 & ~_umask())
        with _writing(path):
            yield fresh
        try:
            _check_free(path, place, marker)
            _put(fresh, place)
        except (OSError, SerqError) as error:
            _save(fresh, path, error)
    finally:
        _remove(fresh)  # in exchange, it is the old one
        _remove(_aside(fresh))
        os.close(lock)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an error of the system into a sentence about `path`."""
    try:
        yield
    except OSError as error:
        raise SerqError(f"cannot write {path}: {error.strerror or error}") from error


def _free_place(path: Path, marker: str) -> Path:
    """Return where a folder will be, links followed; SerqError where it may not be replaced."""
    try:
        place = path.resolve()
    except RuntimeError as error:  # Python before 3.13
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
    _check_free(path, place, marker)
    return place


def _check_free(path: Path, place: Path, marker: str) -> None:
    if place.is_symlink():  # it points to itself
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not place.exists():
        return
    if not (place.is_dir() and (not any(place.iterdir()) or (place / marker).exists())):
        raise SerqError(f"{path} exists and was not made by serq-mcu; choose another folder or remove it")
    if os.path.ismount(place):
        raise SerqError(f"{path} is where a disk is mounted, which cannot be replaced; choose a folder in it")
    if place in (here := Path.cwd(), *here.parents):
        raise SerqError(f"{path} holds the folder that you are in; go elsewhere, or choose another folder")


def _check_parent(path: Path, needed: int) -> None:
    """Raise OSError or SerqError where nothing can be made in, or below, the nearest folder that exists."""
    parent = path.absolute().parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    state = parent.stat()
    if not stat.S_ISDIR(state.st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    if shutil.disk_usage(parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if os.name == "nt" or not state.st_mode & stat.S_ISVTX or not path.exists():
        return
    if os.geteuid() not in (0, state.st_uid, path.lstat().st_uid):
        raise SerqError(f"{path} belongs to another user; choose another name")


def _is_stream(path: Path) -> bool:
    """Tell whether bytes go through the path to somebody, and are kept nowhere.

    Raises SerqError for what can neither be written to so nor replaced.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        state = None
    if state is not None and (stat.S_ISCHR(state.st_mode) or stat.S_ISFIFO(state.st_mode)):
        return True
    if path.is_symlink():
        raise SerqError(f"{path} is a link to {os.readlink(path)}; name the file itself, or remove the link")
    if state is not None and not stat.S_ISREG(state.st_mode):
        what = "a folder" if stat.S_ISDIR(state.st_mode) else "no regular file"
        raise SerqError(f"cannot write {path}: it is {what}; choose another name")
    return False


def _write_stream(path: Path, data: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise SerqError(f"nobody reads the pipe {path}; start its reader first") from error
        raise
    os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def _prefix(path: Path) -> str:
    """Return how the names of what is being made for `path` begin."""
    name = os.fsencode(path.name)
    stem = path.name if len(name) <= _LONGEST else hashlib.sha256(name).hexdigest()
    return f".{stem}{_OURS}"


def _aside(fresh: Path) -> Path:
    return fresh.with_name(fresh.name + _ASIDE)


def _held(make: Callable[[], tuple[int, str]]) -> tuple[Path, int]:
    """Make a temporary file or folder and hold its lock; whoever finds it unlocked may remove it."""
    while True:
        handle, name = make()
        _lock(handle)
        if os.path.exists(name):
            return Path(name), handle
        os.close(handle)  # somebody swept it up before it was locked


def _temporary_folder(place: Path) -> tuple[int, str]:
    while True:
        name = tempfile.mkdtemp(dir=place.parent, prefix=_prefix(place))
        with contextlib.suppress(FileNotFoundError):
            return os.open(os.devnull if os.name == "nt" else name, os.O_RDONLY), name


def _lock(handle: int) -> bool:
    """Lock an open file or folder until it is closed, and return whether nobody else holds it."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        return False
    return True


def _sweep(place: Path) -> None:
    """Remove what ended processes left beside `place`, and put back an old folder that lies aside."""
    if os.name == "nt":
        return
    start = _prefix(place)
    for name in sorted(os.listdir(place.parent)):
        left = place.parent / name
        if not name.startswith(start) or left.is_symlink():
            continue
        with contextlib.suppress(OSError):
            if left.lstat().st_uid != os.geteuid():
                continue
            aside = name.endswith(_ASIDE)
            if aside and left.with_name(name.removesuffix(_ASIDE)).exists():
                continue  # the folder that it made room for tells whether somebody is at work
            handle = os.open(left, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            try:
                if _lock(handle):
                    if _aside(left).exists():
                        _recover(_aside(left), place)
                    if not (aside and _recover(left, place)):
                        _remove(left)
            finally:
                os.close(handle)


def _recover(aside: Path, place: Path) -> bool:
    """Put an old folder back where nothing took its place, and remove it where something did."""
    if place.exists():
        _remove(aside)
    else:
        os.rename(aside, place)
    return True


def _put(fresh: Path, place: Path) -> None:
    """Put `fresh` where `place` is; what was there is then at `fresh` or aside."""
    if not place.exists():
        try:
            os.rename(fresh, place)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        else:
            return
    if _exchange(fresh, place):
        return
    aside = _aside(fresh)
    try:
        os.rename(place, aside)
        os.rename(fresh, place)
    except BaseException:
        if aside.exists() and not place.exists():
            os.rename(aside, place)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step, and return whether this system can."""
    here = _AT_FDCWD.get(sys.platform)
    function = _exchanger()
    if here is None or function is None:
        return False
    if function(here, os.fsencode(one), here, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number))


def _exchanger() -> Callable[..., Any] | None:
    """Find the C library's function for it, if there is one."""
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform, "")
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return function  # type: ignore[no-any-return]


def _save(fresh: Path, path: Path, reason: Exception) -> None:
    """Keep a finished folder that cannot be put in its place, and raise SerqError that says where."""
    place = fresh.parent / path.resolve().name
    for number in range(2, 1000):
        beside = place.with_name(f"{place.name}-{number}")
        if not os.path.lexists(beside):
            with _writing(path):
                os.rename(fresh, beside)
            break
    said = str(reason) if isinstance(reason, SerqError) else f"cannot write {path}: {_words(reason)}"
    raise SerqError(f"{said}; what was made is in {beside}") from reason


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _remove(left: Path) -> None:
    """Remove a file or folder, its read-only folders too; what cannot be removed stays."""
    if left.is_symlink() or not left.is_dir():
        with contextlib.suppress(OSError):
            left.unlink()
        return
    shutil.rmtree(left, ignore_errors=True)
    if left.exists():
        _open_up(left)
        shutil.rmtree(left, ignore_errors=True)


def _open_up(folder: Path) -> None:
    """Permit ourselves to remove what is in a folder."""
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
        with os.scandir(folder) as entries:
            below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for path in below:
            _open_up(path)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
