"""What is fuzzed: a small whole file of every kind that darklens reads, what reads it, and how its bytes are mutated.

A case is built once; then one file of it is mutated again and again. Files that carry checksums of their content (zip members,
gzip streams, Parquet pages) are mutated on both sides of the checksum, else nothing would ever get past it.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

SIDE = 16


def image(seed: int = 0, bands: int = 1) -> np.ndarray:
    """Return an image `(bands, y, x)` of noise."""
    return np.random.default_rng(seed).normal(size=(bands, SIDE, SIDE)).astype(np.float32)


def _bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _objects() -> np.ndarray:
    pair = np.empty(2, object)
    pair[:] = [image()[0].astype(np.float64), 3.5e-24]
    return pair


def _fits(kind: str) -> bytes:
    from astropy.io import fits

    kernel = np.exp(-0.5 * np.add.outer(np.arange(-8, 9) ** 2, np.arange(-8, 9) ** 2) / 4)
    primary = fits.PrimaryHDU(kernel if kind == "psf" else image()[0])
    primary.header.update(
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1.4e-5, "CDELT2": 1.4e-5, "TELESCOP": "HST", "FILTER": "F814W"}
    )
    if kind == "scaled":
        primary.scale("int16", bscale=0.01, bzero=1.0)
    hdus = [primary]
    if kind == "bands":
        hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(image(k)[0], name=f"{band}_BGSUB") for k, band in enumerate(("VIS", "NIR_Y")))]
    if kind == "packed":
        hdus = [fits.PrimaryHDU(), fits.CompImageHDU(image()[0], compression_type="RICE_1", name="SCI")]
    if kind == "catalogue":
        columns = [fits.Column("id", "8A", array=["a", "b"]), fits.Column("ra", "D", array=[1.0, 2.0])]
        hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([*columns, fits.Column("dec", "D", array=[1.0, 2.0])])]
    return _bytes(fits.HDUList(hdus).writeto)


def _scores(suffix: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    names = [f"lens-{k}" for k in range(20)]
    table = pa.table({"id": names, "ra": np.arange(20.0), "dec": np.arange(20.0), "no": np.linspace(0, 1, 20)})
    return _bytes(lambda buffer: (csv.write_csv if suffix == "csv" else pq.write_table)(table, buffer))


def _table(folder: Path) -> None:
    from darklens.data import Table

    names = [f"lens-{k}" for k in range(6)]
    truth = {"theta_E": np.linspace(1, 2, 6)}
    table = Table.from_columns(names, np.stack([image(k) for k in range(6)]), ["no", "sphere"] * 3, truth)
    from darklens.data.writer import TableWriter

    with TableWriter(folder, shape=table.shape, classes=table.classes, manifest={"preset": None, "seed": 1}) as writer:
        writer.write(table.records())


def _run(folder: Path) -> None:
    """Copy the smallest run that comes with darklens."""
    from darklens.runs import locate

    shutil.copytree(locate("arcnet:common-test"), folder, dirs_exist_ok=True)


def read_images(path: Path) -> None:
    """Read every image of a file or a table, and what its header says."""
    from darklens.data import read
    from darklens.data.formats import format_of
    from darklens.data.options import Options

    if path.is_file():
        format_of(path, look_inside=True).probe(path, Options())
    for _ in read(path):
        pass


def read_table(path: Path) -> None:
    """Open a table and read columns, images and checksums."""
    from darklens.data import Table

    table = Table.open(path)
    for name in table.columns:
        table.column(name)
    for _ in table.records():
        pass
    table.verify()


def read_catalogue(path: Path) -> None:
    """Read a catalogue of objects."""
    from darklens.data.catalogue import Catalogue

    found = Catalogue.open(path)
    _ = found.ids, found.labels, found.splits, found.truth


def read_known(path: Path) -> None:
    """Read a catalogue of known lenses."""
    from darklens.data.crossmatch import read_catalogue

    read_catalogue(path)


def read_scores(path: Path) -> None:
    """Read a file of scores."""
    from darklens.data.scores import read_scores

    read_scores(path, ["id", "no"])


def read_recipe(path: Path) -> None:
    """Read a recipe."""
    from darklens.recipes import load

    load(path)


def read_run(path: Path) -> None:
    """Open a run, load its network with all that it knows of its limits, and look at it."""
    from darklens.runs import Run
    from darklens.train.predictor import Predictor

    run = Run.open(path)
    _ = run.recipe, run.metrics, run.provenance, run.data, run.history
    Predictor(run, "cpu")


def read_checkpoint(path: Path) -> None:
    """Read a training's state."""
    from darklens.train import checkpoint

    checkpoint.load(path)


def read_psf(path: Path) -> None:
    """Read a point spread function."""
    from darklens.simulate.psf_file import read_psf

    read_psf(path)


def read_mosaic(path: Path) -> None:
    """Open a mosaic and cut something out of it."""
    from darklens.data import cutouts

    catalogue = path.parent / "objects.csv"
    catalogue.write_text("id,x,y\na,8,8\n")
    cutouts([path], catalogue, path.parent / "cut", size=8, x="x", y="y", force=True)


def read_coolest(path: Path) -> None:
    """Read a lens in the COOLEST standard."""
    from darklens.simulate.interop.coolest import read_coolest

    read_coolest(path)


def _checkpoint() -> bytes:
    import torch
    from safetensors.torch import save

    tensors = {"model/w": torch.ones(3, 4), "optimizer/0/step": torch.tensor(3.0)}
    header = {"state": {"epoch": 1}, "groups": [{"lr": 1e-3, "params": [0]}], "scalars": {"0": {"beta": 0.9}}}
    return save(tensors, {"darklens": json.dumps(header)})


def _recipe() -> bytes:
    from darklens.recipes.catalogue import FOLDER

    return (FOLDER / "model-iii-resnet18.yaml").read_bytes()


@dataclass(frozen=True)
class Case:
    """Something that is read.

    Args:
        name: of the file, or of the folder's file that is mutated.
        build: the whole bytes of that file; or, with a folder, what fills it.
        read: reads it.
        folder: whether a folder is read.
        wrap: puts mutated bytes behind a checksum.
        refused: whether it is refused even when whole.
    """

    name: str
    build: Callable
    read: Callable[[Path], None]
    folder: bool = False
    wrap: Callable[[bytes], bytes] = bytes
    refused: bool = False

    def prepare(self, folder: Path) -> tuple[Path, Path, bytes]:
        """Build the case; return what is read, the file to mutate, and its bytes before it is wrapped."""
        target = folder / self.name
        if self.folder:
            self.build(folder)
            return folder, target, target.read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
        content = self.build()
        target.write_bytes(self.wrap(content))
        return target, target, content


def _zipped(content: bytes) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("image.npy", content)

    return _bytes(write)


def _npy(array: np.ndarray) -> bytes:
    return _bytes(lambda buffer: np.save(buffer, array, allow_pickle=True))


CASES = {
    "npy": Case("x.npy", lambda: _npy(image(bands=3)), read_images),
    "npy-stack": Case("x.npy", lambda: _npy(np.asfortranarray(image(bands=12))), read_images),
    "npy-pickle": Case("x.npy", lambda: _npy(_objects()), read_images),
    "npz": Case("x.npz", lambda: _bytes(lambda b: np.savez_compressed(b, image=image(), other=image(1))), read_images),
    "npz-inside": Case("x.npz", lambda: _npy(image()), read_images, wrap=_zipped),
    "fits": Case("x.fits", lambda: _fits("plain"), read_images),
    "fits-scaled": Case("x.fits", lambda: _fits("scaled"), read_images),
    "fits-bands": Case("x.fits", lambda: _fits("bands"), read_images),
    "fits-packed": Case("x.fits.fz", lambda: _fits("packed"), read_images),
    "fits-gz": Case("x.fits.gz", lambda: gzip.compress(_fits("plain")), read_images),
    "fits-gz-inside": Case("x.fits.gz", lambda: _fits("plain"), read_images, wrap=gzip.compress),
    "fits-psf": Case("psf.fits", lambda: _fits("psf"), read_psf),
    "fits-mosaic": Case("m.fits", lambda: _fits("plain"), read_mosaic),
    "fits-catalogue": Case("c.fits", lambda: _fits("catalogue"), read_catalogue),
    "parquet-shard": Case("part-00000.parquet", _table, read_table, folder=True),
    "parquet-manifest": Case("manifest.json", _table, read_table, folder=True),
    "parquet-scores": Case("s.parquet", lambda: _scores("parquet"), read_scores),
    "parquet-catalogue": Case("c.parquet", lambda: _scores("parquet"), read_catalogue),
    "csv-scores": Case("s.csv", lambda: _scores("csv"), read_scores),
    "csv-catalogue": Case("c.csv", lambda: _scores("csv"), read_catalogue),
    "csv-known": Case("k.csv", lambda: _scores("csv"), read_known),
    "safetensors": Case("weights.safetensors", _run, read_run, folder=True),
    "safetensors-novelty": Case("novelty.safetensors", _run, read_run, folder=True),
    "safetensors-validation": Case("validation.safetensors", _run, read_run, folder=True),
    "safetensors-state": Case("state.safetensors", _checkpoint, read_checkpoint),
    "run-model": Case("model.json", _run, read_run, folder=True),
    "run-calibration": Case("calibration.json", _run, read_run, folder=True),
    "run-novelty": Case("novelty.json", _run, read_run, folder=True),
    "yaml-run": Case("recipe.yaml", _run, read_run, folder=True),
    "yaml-recipe": Case("mine.yaml", _recipe, read_recipe),
}

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
WORD = re.compile(rb"[A-Za-z_][\w.-]*")
NUMBERS = (
    b"0",
    b"-1",
    b"1",
    b"3",
    b"65536",
    b"99999999",
    b"2147483648",
    b"9223372036854775808",
    b"1e400",
    b"-1e-400",
    b"0.5",
    b"9" * 60,
)
WORDS = (
    *(
        b"null",
        b"true",
        b"NaN",
        b"Infinity",
        b"[]",
        b"{}",
        b'""',
        b"'",
        b"../../x",
        b"/dev/zero",
        b"os.system",
        b"O",
        b"<f8",
        b">i2",
        b"|V9",
    ),
    *(
        b"!!python/object/apply:os.system ['true']",
        b"*a",
        b"&a",
        b"<<: *a",
        b"\x00",
        b"\xff\xfe",
        "ü".encode(),
        b"NAXIS",
        b"image",
        b"[" * 5000,
    ),
)
KNOWN = (
    b"\x00" * 8,
    b"\xff" * 8,
    b"\xff\xff\xff\x7f",
    b"\x80",
    b"PK\x05\x06",
    b"PAR1",
    b"\x93NUMPY\x01\x00",
    b"SIMPLE  =",
    b"cposix\nsystem\n",
    b".",
)


def _replaced(content: bytes, pattern: re.Pattern[bytes], where: float, by: bytes, keep: bool) -> bytes:
    """Replace the number or word nearest to a place; `keep` keeps the length of the file, as FITS cards want it."""
    found = list(pattern.finditer(content))
    if not found:
        return content
    one = found[min(int(where * len(found)), len(found) - 1)]
    return content[: one.start()] + by + content[max(one.end(), one.start() + len(by) if keep else 0) :]


def _changed(content: bytes, kind: str, where: float, length: float, payload: bytes) -> bytes:
    at = int(where * len(content))
    end = at + 1 + int(length**3 * (len(content) - at))  # short ones mostly
    if kind == "write":
        return content[:at] + payload + content[at + len(payload) :]
    if kind == "insert":
        return content[:at] + payload + content[at:]
    if kind == "cut":
        return content[:at]
    if kind == "delete":
        return content[:at] + content[end:]
    return content[:at] + content[at:end] + content[at:]  # repeat


def drawn(rng: random.Random) -> list[tuple]:
    """Draw one to four mutations, each (kind, where, how far or whether, payload)."""
    return [_one(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4)))]


def _one(rng: random.Random) -> tuple:
    where = rng.random() ** rng.choice((1, 6))  # half of them near the beginning, where headers are
    family = rng.choice(("bytes", "number", "word"))
    if family == "bytes":
        payload = rng.choice(KNOWN) if rng.random() < 0.5 else rng.randbytes(rng.randint(1, 9))
        return rng.choice(("write", "insert", "cut", "delete", "repeat")), where, rng.random(), payload
    if rng.random() < 0.7:
        payload = rng.choice(NUMBERS if family == "number" else WORDS)
    else:
        payload = str(rng.randint(-(1 << 70), 1 << rng.randint(1, 70))).encode() if family == "number" else rng.randbytes(5)
    return family, where, rng.random() < 0.5, payload


MUTATIONS = st.randoms(use_true_random=True).map(drawn)


def mutated(content: bytes, mutations: list[tuple]) -> bytes:
    """Return the bytes after some mutations, drawn from `MUTATIONS`."""
    for kind, where, third, payload in mutations:
        if kind in ("number", "word"):
            content = _replaced(content, NUMBER if kind == "number" else WORD, where, payload, third)
        else:
            content = _changed(content, kind, where, third, payload)
    return content
