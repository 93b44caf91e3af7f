"""Which files are the bands of one object, told from their names.

| layout | an object | its bands |
|---|---|---|
| `NAME_g.fits`, `NAME_r.fits`, `NAME_i.fits` | `NAME` | blue to red |
| `g/NAME.fits`, `r/NAME.fits` | `NAME` | blue to red |
| `g.fits`, `r.fits`, each a cube of n cutouts | each number | blue to red |
| `Band1/imageSDSS_R-7.fits` ... `Band4/imageSDSS_U-7.fits` | `7` | as the folders are numbered |

A name is split only where all that share it end in bands of the field and at least two do; `slice_x`, `slice_y` stay two images.
The bands of a folder are those that at least half of its objects have, unless some are asked for.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

BLUE_TO_RED = ("fuv", "nuv", "u", "b", "g", "v", "r", "vis", "i", "z", "y", "j", "h", "k", "ks")
_LETTERS = {"u", "g", "r", "i", "z", "y", "Y", "J", "H", "K", "Ks", "U", "G", "R", "I", "Z", "VIS", "vis", "NUV", "FUV"}
_FILTER = re.compile(r"[Ff]\d{3,4}(?:[WMNX]|LP)2?(?![A-Za-z])", re.IGNORECASE)
_JWST = {70, 90, 115, 140, 150, 162, 182, 187, 200, 210, 212, 250, 277, 300, 335, 356, 360, 410, 430, 444, 460, 466, 470, 480}
_NUMBERED = re.compile(r"band[_-]?(\d+)", re.IGNORECASE)
_LETTER_AFTER = re.compile(r"(.+)[_.-][A-Za-z]")
CHALLENGE = re.compile(r"image(?:(?P<survey>SDSS|EUC)_|S)?(?P<band>[A-Za-z]+)-(?P<id>\d+)")
"""File names of the Bologna lens-finding challenges: `imageSDSS_R-100002`, `imageEUC_VIS-100002`, `imageSVIS-100002`."""


@dataclass(frozen=True)
class Object:
    """The files of one object.

    Args:
        name: what the files share; empty if they are called by their band alone.
        paths: one file a band, in the order of `bands`.
        bands: names of the bands; empty for a file that is an image by itself.
        challenge: the survey of a lens-finding challenge the file names belong to, or None.
    """

    name: str
    paths: tuple[Path, ...]
    bands: tuple[str, ...] = ()
    challenge: str | None = None


def is_band(name: str) -> bool:
    """Say whether a name is that of a band of the field: a letter of the optical or infrared, VIS, or a filter like F814W."""
    return name in _LETTERS or _FILTER.fullmatch(name) is not None


def short_band(name: str) -> str | None:
    """Return the band that a name with a survey before it means: `Y` for `NIR_Y`; None if it means none."""
    last = re.split(r"[_.-]", name)[-1]
    return last if is_band(last) else None


def wavelength_order(bands: Iterable[str]) -> list[str]:
    """Sort bands from blue to red; names of no known wavelength come last, in alphabetical order."""
    bands = list(bands)
    numbers = {b: int(re.sub(r"\D", "", b)[:4]) for b in bands if _FILTER.fullmatch(b)}
    webb = bool(numbers) and set(numbers.values()) <= _JWST  # F200W is at 2.0 um on JWST, F275W at 0.275 um on HST

    def key(band: str) -> tuple[int, float, str]:
        if band in numbers:
            number = numbers[band]
            return (1, number * 10 if webb or number < 200 else number, band)
        short = (short_band(band) or band).lower()
        return (0, BLUE_TO_RED.index(short), band) if short in BLUE_TO_RED else (2, 0, band)

    return sorted(bands, key=key)


def split_name(stem: str, wanted: Sequence[str] | None = None) -> tuple[str, str, str | None] | None:
    """Split a file's name into object, band and challenge survey; None if it names no band.

    Args:
        stem: the name without suffix.
        wanted: bands that are asked for, which need not be of the field.
    """
    known = lambda name: is_band(name) or name in (wanted or ())  # noqa: E731
    if (found := CHALLENGE.fullmatch(stem)) and known(found["band"]):
        return found["id"], found["band"], found["survey"] or "EUC"
    if known(stem):
        return "", stem, None
    for band in sorted(wanted or (), key=len, reverse=True):  # a band that is asked for may hold a separator itself
        if stem.endswith(band) and stem.removesuffix(band)[-1:] in ("_", "-", "."):
            return stem.removesuffix(band)[:-1], band, None
    found = re.fullmatch(r"(.+)[_.-]([A-Za-z0-9]+)", stem)
    return (found[1], found[2], None) if found and known(found[2]) else None


def objects(stems: dict[Path, str], wanted: Sequence[str] | None, on_skip: Callable[[Path, str], None]) -> list[Object]:
    """Put the files of one folder together to objects, in the order of their first files.

    Args:
        stems: path of a file -> its name without suffix.
        wanted: bands that are asked for, in their order.
        on_skip: called with path and reason of what is left out.
    """
    parts = {path: split_name(stem, wanted) for path, stem in stems.items()}
    groups: dict[str, dict[str, Path]] = defaultdict(dict)
    surveys: dict[str, str | None] = {}
    spoiled = {other[1] for path, stem in stems.items() if parts[path] is None and (other := _LETTER_AFTER.fullmatch(stem))}
    for path, found in parts.items():
        if found is not None and found[0] not in spoiled and found[1] not in groups[found[0]]:
            groups[found[0]][found[1]] = path
            surveys.setdefault(found[0], found[2])
    groups = {name: bands for name, bands in groups.items() if bands}
    several = any(len(bands) > 1 for bands in groups.values())
    if not (several or wanted or any(found and found[2] for found in parts.values())):
        groups = {}
    ours = {path: name for name, bands in groups.items() for path in bands.values()}
    whole = complete(groups, wanted, on_skip, surveys)
    there = {found.name: found for found in whole}
    result, done = [], set()
    for path, stem in stems.items():
        if path not in ours:
            result.append(Object(stem, (path,)))
        elif (name := ours[path]) in there and name not in done:
            done.add(name)
            result.append(there[name])
    return result


def complete(
    groups: dict[str, dict[str, Path]],
    wanted: Sequence[str] | None,
    on_skip: Callable[[Path, str], None],
    challenge: dict[str, str | None] | None = None,
    order: Sequence[str] | None = None,
) -> Iterator[Object]:
    """Iterate over the objects that have all bands, and say of the others what they lack.

    Args:
        groups: object -> band -> file.
        wanted: bands that are asked for; by default those that at least half of the objects have.
        on_skip: called with path and reason of what is left out.
        challenge: object -> survey of the challenge.
        order: of the bands, if none are asked for; blue to red by default.
    """
    counts = Counter(band for bands in groups.values() for band in bands)
    common = [band for band, n in counts.items() if 2 * n >= len(groups)]
    bands = tuple(wanted or (order and [b for b in order if b in common]) or wavelength_order(common))
    for name, found in groups.items():
        missing = [band for band in bands if band not in found]
        first = next(iter(found.values()))
        if missing:
            have = ", ".join(wavelength_order(found))
            remedy = f"add the file or give --bands {','.join(wavelength_order(found))}"
            on_skip(first, f"has no band {', '.join(missing)} beside it (only {have}): {remedy}")
            continue
        for band in () if wanted else [b for b in found if b not in bands]:
            on_skip(found[band], f"is of band {band}, which most objects beside it lack: give --bands to read it")
        yield Object(name, tuple(found[band] for band in bands), bands, (challenge or {}).get(name))


def band_folders(folders: Sequence[Path], wanted: Sequence[str] | None = None) -> list[tuple[str, Path]]:
    """Return band and folder, in the order of the bands, if all folders beside each other are bands; else nothing.

    `Band1`, `Band2`, ... are folders of bands even alone, and their bands are named by their number.
    """
    numbers = {folder: found[1] for folder in folders if (found := _NUMBERED.fullmatch(folder.name))}
    if folders and len(numbers) == len(folders):
        return [(f"band{numbers[f]}", f) for f in sorted(folders, key=lambda f: int(numbers[f]))]
    known = ((folder, folder.name if folder.name in (wanted or ()) else short_band(folder.name)) for folder in folders)
    names = {folder: band for folder, band in known if band}
    if len(folders) < 2 or len(names) < len(folders):
        return []
    if len(set(names.values())) < len(folders):  # DES_Y beside NIR_Y: only the whole names differ
        names = {folder: folder.name for folder in folders}
    by_band = {names[folder]: folder for folder in folders}
    return [(band, by_band[band]) for band in wavelength_order(by_band)]


def pattern(paths: Sequence[Path]) -> str:
    """Return one name for several files, `DIR/NAME_{g,r,i}.fits`, which `read` takes for their bands.

    Where the files' names hold braces or commas themselves it is the name of the first.
    """
    if len(paths) == 1 or any(c in str(p) for p in paths for c in "{},"):
        return str(paths[0])
    columns = list(zip(*(p.parts for p in paths), strict=False))
    return str(Path(*(_braced(column) for column in columns)))


def _braced(names: tuple[str, ...]) -> str:
    if len(set(names)) == 1:
        return names[0]
    head = _common_start(names)
    tail = _common_start([name[len(head) :][::-1] for name in names])[::-1]
    middle = (name[len(head) : len(name) - len(tail)] for name in names)
    return f"{head}{{{','.join(middle)}}}{tail}"


def _common_start(names: Sequence[str]) -> str:
    together = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in together)


def expand(path: Path) -> list[Path]:
    """Return the files that `pattern` stands for; the path itself if it has no braces."""
    pieces = re.split(r"\{([^{}]*,[^{}]*)\}", str(path))
    choices = [piece.split(",") for piece in pieces[1::2]]
    if not choices or len({len(choice) for choice in choices}) > 1:
        return [path]
    return [Path("".join(f + c for f, c in zip(pieces[::2], (*row, ""), strict=True))) for row in zip(*choices, strict=True)]


def bands_of_pattern(files: Sequence[Path], stems: Sequence[str]) -> tuple[str, ...]:
    """Return the bands of the files that a pattern stands for: by their names, else by a folder's above them, else by number."""
    folders = zip(*(reversed(file.parent.parts) for file in files), strict=False)
    for names in ([found[1] if (found := split_name(s)) else None for s in stems], *(list(map(short_band, f)) for f in folders)):
        bands = tuple(name for name in names if name)
        if len(set(bands)) == len(files):
            return bands
    return tuple(map(str, range(len(files))))


def common_name(stems: Sequence[str]) -> str:
    """Return what the names of an object's files share, without the bands: `NAME` of `NAME_g` and `NAME_r`; empty if nothing."""
    names = {found[0] if (found := split_name(stem)) else None for stem in stems}
    name = names.pop() if len(names) == 1 else None
    return _common_start(stems).rstrip("_-.") if name is None else name
