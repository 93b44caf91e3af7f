"""Walk a tree of files and find the images in it: single files, objects of several bands, and the key of a challenge.

Names are read one folder at a time, in sorted order; where folders beside each other are bands, those together.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from darklens.data.bands import CHALLENGE, Object, band_folders, complete, objects, split_name
from darklens.data.challenge import MASKED, Key, read_key
from darklens.data.folders import NO_TEXT, File, Skip, is_text, low_resolution, place, stem


@dataclass(frozen=True)
class _Walk:
    """What holds for a whole walk, and what the folders above a folder have told."""

    root: Path
    wanted: Callable[[Path], bool]
    bands: Sequence[str] | None
    on_skip: Skip
    key: Key | None = None

    def file(self, found: Object, name: str, parts: tuple[str, ...]) -> File:
        """Describe an object below the root: with several bands, or a single file."""
        label, split = place(parts, self.root.resolve().name)
        path, id_ = found.paths[0], "/".join((*parts, name)) if name else "/".join(parts) or self.root.resolve().name
        if not found.bands:
            return File(path, id_, label, split, low_resolution(path))
        truth: dict[str, float] = {}
        mask = None
        if found.challenge:
            folder = {"lens": "lens", "nonlens": "nonlens", "nolens": "nonlens"}.get(label or "")
            label, truth = (self.key.entry(found.name) if self.key else None) or (folder, {})
            mask = MASKED.get(found.challenge)
        return File(path, id_, label, split, None, found.paths, found.bands, truth, mask)


def files_below(root: Path, wanted: Callable[[Path], bool], on_skip: Skip, bands: Sequence[str] | None = None) -> Iterator[File]:
    """Walk a tree in sorted order, one folder's names in memory at a time.

    Links to files are followed; a link to a folder is followed unless it leads back into a folder on the way to it.

    Args:
        root: the folder.
        wanted: whether a file is one to read; it reports the others itself.
        on_skip: called with what is left out, and why.
        bands: the bands that are asked for, in their order.

    Yields:
        The files to read.
    """
    yield from _below(root, (), (os.path.realpath(root),), _Walk(root, wanted, bands, on_skip))


def _below(folder: Path, parts: tuple[str, ...], above: tuple[str, ...], walk: _Walk) -> Iterator[File]:
    files, folders = _listing(folder, above, walk.on_skip)
    if key := read_key([path for path in files if path.suffix.lower() == ".csv"]):
        walk = replace(walk, key=key)
        files = [path for path in files if path not in key.paths]
    files = [path for path in files if walk.wanted(path)]
    found = objects({path: stem(path) for path in files}, walk.bands, walk.on_skip)
    names = Counter(one.name for one in found)
    for one in found:
        yield walk.file(one, one.name if names[one.name] == 1 or one.bands else one.paths[0].name, parts)
    if several := band_folders([path for path in folders if path.name.lower() != "private"], walk.bands):
        yield from _across(several, parts, above, walk)
        folders = [path for path in folders if path.name.lower() == "private"]
    low, high = _folder_named(folders, "LR"), _folder_named(folders, "HR")
    public = _folder_named(folders, "PUBLIC")
    for path in folders:
        if high and path == low:
            _report_alone(path, high, walk.on_skip)
        elif public and path.name.lower() == "private":
            walk.on_skip(path, "is the private part of a challenge, the pieces that its images were made of")
        else:
            yield from _below(path, (*parts, path.name), (*above, os.path.realpath(path)), walk)


def _across(folders: Sequence[tuple[str, Path]], parts: tuple[str, ...], above: tuple[str, ...], walk: _Walk) -> Iterator[File]:
    """Walk several folders, one a band, at once: files that share a name are the bands of one object."""
    groups: dict[str, dict[str, Path]] = defaultdict(dict)
    below: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    names: dict[str, str | None] = {}
    order = []
    for band, folder in folders:
        files, inside = _listing(folder, (*above, os.path.realpath(folder)), walk.on_skip)
        files = [path for path in files if walk.wanted(path)]
        order.append(_challenge_band(files) or band)
        for path in files:
            name, found, survey = split_name(stem(path), walk.bands) or (stem(path), order[-1], None)
            name = name if found == order[-1] and name else stem(path)
            groups[name][order[-1]] = path
            names[name] = survey
        for path in inside:
            below[path.name].append((band, path))
    for one in complete({n: groups[n] for n in sorted(groups)}, walk.bands, walk.on_skip, names, order):
        yield walk.file(one, one.name, parts)
    for name in sorted(below):
        yield from _across(below[name], (*parts, name), above, walk)


def _challenge_band(files: Sequence[Path]) -> str | None:
    """Return the band that the names of a challenge's files give, if they do."""
    found = CHALLENGE.fullmatch(stem(files[0])) if files else None
    return found["band"] if found else None


def _listing(folder: Path, above: tuple[str, ...], on_skip: Skip) -> tuple[list[Path], list[Path]]:
    files, folders = [], []
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        on_skip(folder, f"cannot be read ({(error.strerror or 'input/output error').lower()})")
        names = []
    for path in (folder / name for name in names):
        if not is_text(path.name):
            on_skip(folder / os.fsencode(path.name).decode(errors="backslashreplace"), NO_TEXT)
        elif path.name.startswith("."):
            on_skip(path, "is hidden")
        elif path.is_dir():
            loop = path.is_symlink() and os.path.realpath(path) in above
            on_skip(path, "is a link back to a folder above it") if loop else folders.append(path)
        elif path.is_file():
            files.append(path)
        else:
            on_skip(path, "is a broken link" if path.is_symlink() else "is not a regular file")
    return files, folders


def _folder_named(folders: Sequence[Path], name: str) -> Path | None:
    return next((path for path in folders if path.name.upper() == name), None)


def _report_alone(low: Path, high: Path, on_skip: Skip) -> None:
    partners = set(os.listdir(high))
    for name in sorted(os.listdir(low)):
        if name not in partners:
            on_skip(low / name, "has no partner of that name in HR")
