"""The card of a table of images (Gebru et al. 2021, arXiv:1803.09010): its manifest, its columns, and the priors behind it."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any

import numpy as np

from darklens.data import Table
from darklens.data.schema import RESERVED
from darklens.errors import InputError
from darklens.report.card import Card, Grid, Section, command, cosmology, counts, instrument, number, question, said, size
from darklens.simulate import PRESETS, Preset
from darklens.simulate import instrument as find_instrument
from darklens.simulate.priors import Fixed, PowerLaw, Prior, Quantiles, Uniform

SAMPLE = 1024
"""Images whose pixels are looked at."""
BLOCKS = 16
"""Runs of neighbouring rows that they come from: a table is stored in blocks, and may be sorted by class."""
NO_CLASS, NO_SPLIT = "no class", "not split"


def data_card(table: Table) -> Card:
    """Return the card of a table.

    Args:
        table: on disk or in memory; of its images up to `SAMPLE` are read.
    """
    about = table.manifest
    preset = _preset(about)
    name = table.path.resolve().name if table.path else about.get("preset") or "table in memory"
    summary = about.get("summary") or f"{len(table):,} images of {', '.join(table.classes) or 'unknown classes'}"
    sections = (_content(table), _making(table, preset), _columns(table), _splits(table), _limits(table), _keeping(table))
    return Card(f"Data card: {name}", summary, sections)


def _preset(about: Mapping[str, Any]) -> Preset | None:
    """Return the preset as it was used, seen by the instruments of the manifest; None where this darklens has no such one."""
    found, names = PRESETS.get(about.get("preset") or ""), _instruments(about)
    if found is None or names == [found.instrument.name]:
        return found
    try:
        return found.observed_in([find_instrument(name) for name in names])
    except InputError:
        return None


def _instruments(about: Mapping[str, Any]) -> list[str]:
    """Return the names of the instruments, one a band."""
    bands = [band["instrument"] for band in about.get("bands") or []] or [about.get("instrument") or {}]
    return [str(one.get("name")) for one in bands]


def _content(table: Table) -> Section:
    about, found = table.manifest, Counter(label or NO_CLASS for label in table.labels.tolist())
    names = dict.fromkeys([*table.classes, *found])
    rows = tuple((name, number(found[name]), f"{found[name] / max(1, len(table)):.1%}") for name in names)
    unfinished = None if about.get("complete", True) else f"It is not finished: {about.get('rows')} rows were asked for."
    return Section(
        "What is in it",
        (
            question("What do the images show?", about.get("summary")),
            question("How many are there?", f"{len(table):,}.", unfinished),
            question("Of which classes?", Grid(("class", "images", "fraction"), rows)),
            question("How large are they?", size(table.shape, table.pixel_scale)),
            question("What is the unit of a pixel?", about.get("flux_unit")),
            question("Which values do pixels have?", _pixels(table)),
        ),
    )


def _pixels(table: Table) -> str | None:
    """Say what values a sample of the images has."""
    if not len(table):
        return None
    each = SAMPLE // BLOCKS
    starts = np.linspace(0, max(0, len(table) - each), BLOCKS).astype(int)
    rows = np.unique(np.concatenate([np.arange(start, min(start + each, len(table))) for start in starts]))
    images = table.images(rows).astype(np.float64)
    values = (number(float(value)) for value in (images.min(), images.max(), images.mean(), images.std()))
    return "{} to {}, mean {}, deviation {}".format(*values) + f", in {len(rows):,} images looked at."


def _making(table: Table, preset: Preset | None) -> Section:
    about = table.manifest
    source = f"Simulated: preset {about['preset']}." if about.get("preset") else about.get("source")
    fitted = (
        about.get("fit") and f"Smooth lenses ({about['fit']['model']}) fitted to the table of checksum {about['source_checksum']}."
    )
    bands: list[str | None] = [f"Band {k}: {instrument(band['instrument'])}" for k, band in enumerate(about.get("bands") or [])]
    artefacts = [", ".join(f"{k} {v}".removeprefix("kind ") for k, v in one.items()) for one in about.get("artefacts") or []]
    seed = said("{}: every row is a function of this seed and its number, and of nothing else.", about.get("seed"))
    here = f"darklens {importlib.metadata.version('darklens')}"
    other = f"These are the priors of {here}." if preset and about.get("created_by") != here else None
    return Section(
        "How it was made",
        (
            question("Where do the images come from?", source or fitted),
            question("What made them?", about.get("created_by")),
            question("From which seed?", seed),
            question("What instrument saw them?", *(bands or [instrument(about.get("instrument"))])),
            question("How were they recorded, with which noise?", *_recording(preset), *artefacts),
            question("In what cosmology?", cosmology(about.get("cosmology"))),
            question("What is in the sky?", *(_told(preset.population) if preset else ())),
            question("From which priors?", _priors(preset) if preset else None, other),
        ),
    )


def _told(thing: object) -> list[str]:
    """Return what the documentation of a thing's class says, without arguments and errors."""
    parts = (inspect.getdoc(type(thing)) or "").split("\n\n")
    return [part.replace("`", "") for part in parts if not part.startswith(("Args:", "Raises:", "Returns:"))]


def _recording(preset: Preset | None) -> list[str]:
    """Say how a preset turns light into numbers, with the numbers of that."""
    if preset is None:
        return []
    settings = ", ".join(f"{f.name} {getattr(preset.recording, f.name)}" for f in fields(preset.recording))
    return _told(preset.recording)[:1] + ([f"With {settings}."] if settings else [])


def _priors(preset: Preset) -> Grid:
    """Return the population's priors, one a row, each with the remark that its line in the code ends with (unit, meaning)."""
    population = preset.population
    remarks: dict[str, str] = {}
    for kind in reversed(type(population).__mro__[:-1]):
        with suppress(OSError, TypeError):  # a population typed in by a user has no source file
            remarks |= dict(re.findall(r"^    (\w+): [^#\n]*#[ ]*(.+)$", inspect.getsource(kind), flags=re.MULTILINE))
    named = ((f.name, _prior(getattr(population, f.name))) for f in fields(population))
    return Grid(("quantity", "prior", "remark"), tuple((name, prior, remarks.get(name, "")) for name, prior in named if prior))


def _prior(value: object) -> str:
    """Say a prior, or a fixed number, in words; nothing for what is neither."""
    if isinstance(value, Uniform):
        return f"uniform from {value.low:g} to {value.high:g}"
    if isinstance(value, Fixed):
        return f"always {value.value:g}"
    if isinstance(value, PowerLaw):
        return f"density ~ x^{value.slope:g} from {value.low:g} to {value.high:g}"
    if isinstance(value, Quantiles):
        return "quantiles " + ", ".join(f"{100 * f:g}%: {v:g}" for f, v in zip(value.fractions, value.values, strict=True))
    if isinstance(value, Prior):
        return repr(value)
    return f"always {value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _columns(table: Table) -> Section:
    """Return least, median and largest value of every truth column, over the rows that have one."""
    rows = []
    for name in (name for name in table.columns if name not in RESERVED):
        values = np.asarray(table.column(name), dtype=np.float64)
        known = values[np.isfinite(values)]
        spread = (known.min(), np.median(known), known.max()) if len(known) else ()
        shown = [number(float(value)) for value in spread] or [number(None)] * 3
        rows.append((name, table.units(name) or "", *shown, number(len(known))))
    titles = ("column", "unit", "least", "median", "largest", "rows that have it")
    none = None if rows else "None but id, label and split."
    return Section(
        "What is known of each image",
        (question("Which truth columns are there, in which units and ranges?", Grid(titles, tuple(rows)), none),),
    )


def _splits(table: Table) -> Section:
    by_split: dict[str, Counter[str]] = {}
    for split, label in zip(table.splits.tolist(), table.labels.tolist(), strict=True):
        by_split.setdefault(split or NO_SPLIT, Counter())[label or NO_CLASS] += 1
    names = [*table.classes, *([NO_CLASS] if any(of[NO_CLASS] for of in by_split.values()) else [])]
    whole = (
        "It is one part: other parts are tables of other seeds." if table.manifest.get("preset") and NO_SPLIT in by_split else None
    )
    return Section("Splits", (question("How is it split, with how many of each class?", counts(by_split, names), whole),))


def _limits(table: Table) -> Section:
    simulated = "To learn what real images are like: what is not in the questions above was not simulated."
    consent = "No: it holds images of galaxies, and numbers about them."
    return Section(
        "Limits",
        (
            question("What is known to be wrong with it?", table.manifest.get("notes")),
            question("What should it not be used for?", simulated if table.manifest.get("preset") else None),
            question("Does it hold anything about people?", consent),
        ),
    )


def _keeping(table: Table) -> Section:
    about = table.manifest
    shards = tuple((shard["file"], number(shard["rows"]), shard["sha256"]) for shard in about.get("shards") or [])
    layout = "Parquet, images as fixed-shape tensors, units in the columns' metadata; schema version {}."
    return Section(
        "Keeping it",
        (
            question("How can it be made again?", _command(about)),
            question("What is its checksum?", f"{table.checksum} (SHA-256)"),
            question("Which files has it?", Grid(("file", "rows", "SHA-256"), shards)),
            question("In which layout?", said(layout, about.get("schema_version"))),
        ),
    )


def _command(about: Mapping[str, Any]) -> str | None:
    """Return the command that makes the same table; None for one that was put together by hand."""
    if about.get("preset"):
        found, names = PRESETS.get(about["preset"]), _instruments(about)
        seen = f" --instrument {','.join(names)}" if found and names != [found.instrument.name] else ""
        return command(f"darklens simulate {about['preset']} --n {about.get('rows')} --seed {about.get('seed')}{seen} --out TABLE")
    return command(f"darklens import {about['source']} --out TABLE") if about.get("source") else None
