"""A folder on this machine, on a shared disk, or in an object store, behind one small interface.

Any URL that pyarrow or fsspec knows will do: `s3://bucket/tables/a`, `gs://...`, `hdfs://...`, `file:///shared/a`, or a plain path.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from darklens.errors import InputError, WorkError
from darklens.files import plain, settle

if TYPE_CHECKING:
    import pyarrow.parquet as pq

Result = TypeVar("Result")
PATIENCE = 60
"""Seconds after which a store that does not answer is given up."""
PROBE = ".darklens-can-write"


def is_url(path: str | Path) -> bool:
    """Say whether a path is the URL of a store."""
    return "://" in str(path)


class Folder:
    """A folder by path or URL; it can be sent to other machines.

    Args:
        url: where it is.

    Raises:
        InputError: no such kind of store, or it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = url if is_url(url) else str(Path(url).absolute())
        self._connect()

    def _connect(self) -> None:
        import pyarrow as pa
        from pyarrow import fs

        try:
            self._fs, self._root = _in_time(self.url, lambda: fs.FileSystem.from_uri(self.url))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            self._fs, self._root = self._through_fsspec()
        except (OSError, pa.ArrowException, ValueError) as error:
            raise InputError(f"{self.url} cannot be reached ({_brief(error)}): check the URL and your credentials") from error

    def _through_fsspec(self) -> tuple[Any, str]:
        from pyarrow import fs

        try:
            import fsspec

            store, root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError, OSError) as error:
            scheme = self.url.split("://")[0]
            raise InputError(f"{self.url}: no driver for {scheme!r} ({_brief(error)}); install its fsspec package") from error
        return fs.PyFileSystem(fs.FSSpecHandler(store)), root

    def __getstate__(self) -> dict[str, str]:
        return {"url": self.url}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.url = state["url"]
        self._connect()

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def make(self) -> None:
        """Make the folder, and see that it can be written.

        Raises:
            InputError: it cannot.
        """

        def probe() -> None:
            self._fs.create_dir(self._root, recursive=True)
            with self._fs.open_output_stream(self._at(PROBE)) as file:
                file.write(b"")
            self._fs.delete_file(self._at(PROBE))

        try:
            _in_time(self.url, probe)
        except (OSError, ValueError, NotImplementedError) as error:
            raise InputError(f"{self.url} cannot be written ({_brief(error)}): choose another place or check its rights") from error

    def below(self, name: str) -> Folder:
        """Return a folder in this one; it need not be there yet."""
        return Folder(f"{self.url.rstrip('/')}/{name}")

    def names(self) -> set[str]:
        """Return the names of what lies in the folder; none if there is no such folder."""
        from pyarrow import fs

        return {info.base_name for info in self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))}

    def has(self, name: str) -> bool:
        """Say whether there is a file of that name."""
        from pyarrow import fs

        return self._fs.get_file_info(self._at(name)).type == fs.FileType.File

    def open_parquet(self, name: str) -> pq.ParquetFile:
        """Open a Parquet file.

        Raises:
            InputError: it is missing or damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self._fs.open_input_file(self._at(name)))
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.url}/{name} is missing or damaged ({_brief(error)}): restore it or make it again") from error

    def files_below(self) -> Iterator[tuple[str, str]]:
        """Iterate over the files in the folder and below it, sorted: path in it, and a text that changes with the content."""
        from pyarrow import fs

        found = self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True, recursive=True))
        root = self._root.rstrip("/") + "/"
        for info in sorted(found, key=lambda info: info.path):
            if info.type == fs.FileType.File:
                yield info.path.removeprefix(root), f"{info.size} {info.mtime_ns}"

    def copy_out(self, name: str, path: Path) -> None:
        """Copy a file of the folder to this machine."""
        import shutil

        path.parent.mkdir(parents=True, exist_ok=True)
        with self._fs.open_input_stream(self._at(name)) as source, path.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)

    def read_json(self, name: str) -> Any:
        """Return the content of a JSON file.

        Raises:
            InputError: it is missing, or no JSON object.
        """
        try:
            with self._fs.open_input_stream(self._at(name)) as file:
                content = json.loads(file.read().decode())
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{self.url}/{name} is missing or damaged ({_brief(error)}): restore it or make it again") from error
        if not isinstance(content, dict):
            raise InputError(f"{self.url}/{name} holds no JSON object: restore it or make it again")
        return content

    def write(self, name: str, content: bytes | Path) -> None:
        """Write a file whole or not at all: under a temporary name, then renamed (an object store's write is whole by itself).

        On a disk it is synced before it gets its name.

        Raises:
            WorkError: the disk is full, or the store refused.
        """
        import shutil
        import uuid

        from pyarrow import fs

        temporary = f"{name}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            with self._fs.open_output_stream(self._at(temporary)) as file:
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)
                else:
                    file.write(content)
            if isinstance(self._fs, fs.LocalFileSystem):
                settle(Path(self._at(temporary)), Path(self._at(name)))
            else:
                self._fs.move(self._at(temporary), self._at(name))
        except OSError as error:
            raise WorkError(f"{self.url}/{name} cannot be written ({_brief(error)}): what is there already is kept") from error

    def write_json(self, name: str, content: object) -> None:
        """Write a JSON file whole or not at all."""
        self.write(name, (json.dumps(plain(content), indent=1, allow_nan=False) + "\n").encode())

    def remove(self, *names: str) -> None:
        """Remove files."""
        for name in names:
            self._fs.delete_file(self._at(name))


def _in_time(url: str, work: Callable[[], Result]) -> Result:
    """Do something that may hang on a store that does not answer.

    Raises:
        InputError: no answer.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:  # handed on to the caller
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if not outcome:
        raise InputError(f"{url} gave no answer within {PATIENCE} s: check the URL and the network")
    fine, value = outcome[0]
    if not fine:
        raise value
    return value


def _brief(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
