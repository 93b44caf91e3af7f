"""The build's one addition to pyproject.toml: an sdist whose bytes depend on the files and on SOURCE_DATE_EPOCH alone.

setuptools gives wheels that date; in an sdist it leaves the clock's time, the order of the disk and the builder's name.
"""

import gzip
import os
import tarfile
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist


class DatedSdist(sdist):
    """An sdist with one date for all files, in order of their names, owned by nobody in particular."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        """Write the archive; without SOURCE_DATE_EPOCH, or in another format than gztar, as setuptools does."""
        date = os.environ.get("SOURCE_DATE_EPOCH")
        if date is None or format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)
        archive = Path(f"{base_name}.tar.gz")
        archive.parent.mkdir(parents=True, exist_ok=True)

        def dated(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.mtime, member.uid, member.gid, member.uname, member.gname = int(date), 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        with (
            archive.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=int(date)) as packed,
            tarfile.open(mode="w", fileobj=packed, format=tarfile.PAX_FORMAT) as tar,
        ):
            tar.add(base_dir, filter=dated)  # adds the files of a folder in order of their names
        return str(archive)


setup(cmdclass={"sdist": DatedSdist})
