"""Objects as files below one folder. A write is whole or absent: bytes to disk first, then one rename or link."""

import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from lodestream.errors import LodeError, Outage
from lodestream.objects.base import RESERVED, Stat, check_file, check_key, check_prefix
from lodestream.objects.threads import Threads

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
WORDS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EROFS: "not writable: the disk is mounted read-only",
    errno.EACCES: "not allowed: check the owner and the rights of the folder",
    errno.EPERM: "not allowed: check the owner and the rights of the folder",
    errno.ENOENT: "the folder is gone: is its disk mounted?",
}


class Directory:
    """A folder as an object store, safe among processes; each write costs two fsyncs, of the file and of its folder."""

    def __init__(self, root: Path) -> None:
        """Makes the folder where it is missing. Raises LodeError where it cannot serve as a store."""
        self.root = root.absolute()
        self._root = "" if self.root == Path("/") else str(self.root)
        self._temp = self.root / RESERVED
        self._threads = Threads((OSError,), self._outage)
        try:
            self._temp.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LodeError(str(self._outage(error))) from error
        if self._temp.with_name(RESERVED.upper()).exists():
            raise LodeError(
                f"{self.root}: this disk takes `a` and `A` for one name, and ids differ by that: use another"
            )

    async def put(self, key: str, data: bytes) -> str:
        """Store `data` whole, replacing what is there; gives its version."""
        return await self._threads.run(self._put, self._path(key), data)

    async def put_file(self, key: str, path: Path) -> str:
        """Move a file into the store, or copy it from another file system; `path` is gone either way.

        Gives its version. Raises ValueError where `path` is not a regular file.
        """
        return await self._threads.run(self._put_file, self._path(key), path)

    async def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """Store `data` if the key is free; False when somebody was first, in this process or another."""
        run = self._threads.run if durable else self._threads.run_short
        return await run(self._create, self._path(key), data, durable)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """The object, or `length` bytes of it from `offset`. Raises KeyError where there is none."""
        return await self._threads.run_short(self._get, key, self._name_of(key), offset, length)

    async def stat(self, key: str) -> Stat | None:
        """The object's size and version, or None."""
        return await self._threads.run_short(self._stat, key, self._name_of(key))

    async def delete(self, key: str) -> None:
        """Remove it; nothing happens where there is none."""
        await self._threads.run(self._delete, self._path(key))

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        """Every object whose key begins with `prefix`, in order of key."""
        folder, slash, name = check_prefix(prefix).rpartition("/")
        return self._threads.iterate(self._walk(folder + slash, name))

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """The object's own file: not to be written to. Raises KeyError."""
        if await self.stat(key) is None:
            raise KeyError(key)
        yield self._path(key)

    def sweep(self, older_than_s: float = 3600) -> int:
        """Remove what killed writers left unfinished; how many files that was."""
        left = self.unfinished(older_than_s)
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def unfinished(self, older_than_s: float = 3600) -> Sequence[Path]:
        """What killed writers left."""
        limit = time.time() - older_than_s
        left = []
        for path in self._temp.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    left.append(path)
        return left

    def _path(self, key: str) -> Path:
        return Path(self._name_of(key))

    def _name_of(self, key: str) -> str:
        """What is asked for thousands of times a second is not worth a Path."""
        return f"{self._root}/{check_key(key)}"

    def _put(self, target: Path, data: bytes) -> str:
        with self._on_disk(data) as temp:
            return self._name(os.replace, temp, target)

    def _create(self, target: Path, data: bytes, durable: bool) -> bool:
        if os.path.lexists(target):
            return False
        with self._on_disk(data, durable) as temp:
            try:
                self._name(os.link, temp, target, durable)
            except FileExistsError:
                return False
        return True

    def _put_file(self, target: Path, path: Path) -> str:
        check_file(path)
        _sync(path)
        try:
            return self._name(os.replace, path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with self._on_disk(path) as temp:
                version = self._name(os.replace, temp, target)
            path.unlink()
            return version

    def _get(self, key: str, path: str, offset: int, length: int | None) -> bytes:
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                if offset:
                    file.seek(offset)
                return file.readall() if length is None else file.read(length)
        except ABSENT:
            self._still_here()
            raise KeyError(key) from None

    def _stat(self, key: str, path: str) -> Stat | None:
        try:
            found = os.lstat(path)
        except ABSENT:
            self._still_here()
            return None
        return Stat(key, found.st_size, _version(found)) if stat.S_ISREG(found.st_mode) else None

    def _delete(self, path: Path) -> None:
        try:
            path.unlink()
        except ABSENT:
            self._still_here()

    def _walk(self, folder: str, begin: str) -> Iterator[Stat]:
        """Objects below `folder` whose names there begin with `begin`; a folder sorts as its name with a slash."""
        try:
            with os.scandir(self.root / folder) as entries:
                names = [e.name + "/" if e.is_dir(follow_symlinks=False) else e.name for e in entries]
        except ABSENT:
            self._still_here()
            return
        for name in sorted(n for n in names if n.startswith(begin)):
            if name.endswith("/"):
                if folder + name != RESERVED + "/":
                    yield from self._walk(folder + name, "")
            elif found := self._stat(folder + name, f"{self._root}/{folder}{name}"):
                yield found

    @contextmanager
    def _on_disk(self, source: bytes | Path, durable: bool = True) -> Iterator[Path]:
        """A temporary file with these bytes, safe on disk if `durable`; removed at the end unless it was moved away."""
        temp = Path(f"{self._temp}/{uuid.uuid4().hex}")
        try:
            with temp.open("xb") as file:
                if isinstance(source, Path):
                    with source.open("rb") as original:
                        shutil.copyfileobj(original, file, 1 << 20)
                else:
                    file.write(source)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            yield temp
        finally:
            temp.unlink(missing_ok=True)

    def _name(self, move: Callable[[Path, Path], None], temp: Path, target: Path, durable: bool = True) -> str:
        """Give a finished file its name, as `move` does it, and its version. Raises ValueError where a key is a folder.

        The version is asked of the file that was opened before: at its new name there may be another by then.
        """
        opened = os.open(temp, os.O_RDONLY)
        try:
            try:
                move(temp, target)
            except FileNotFoundError:
                self._make(target.parent)
                move(temp, target)
        except (NotADirectoryError, IsADirectoryError):
            raise ValueError(f"an object cannot lie below another: {target.relative_to(self.root)}") from None
        else:
            if durable:
                _sync(target.parent)
            return _version(os.fstat(opened))
        finally:
            os.close(opened)

    def _make(self, folder: Path) -> None:
        """Make the folders below the root; the root itself may be a mount that is away, and is not made again."""
        self._still_here()
        if not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
            _sync(folder.parent)

    def _still_here(self) -> None:
        """Raises FileNotFoundError where the store itself is away, which must not read as an absent object."""
        self._temp.stat()

    def _outage(self, error: OSError) -> Outage:
        return Outage(f"objects in {self.root}: {WORDS.get(error.errno or 0, error.strerror)}")


def _version(found: os.stat_result) -> str:
    """No program can set a file's ctime, and any change of a file sets it; two files at one time have two inodes."""
    return f"{found.st_ctime_ns:x}-{found.st_ino:x}"


def _sync(path: Path) -> None:
    """Have the kernel write a file or a folder to disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
