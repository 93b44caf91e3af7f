"""What a survey costs to score: core-hours, hours and bytes, computed from measured rates; the table of docs/survey.md."""

from __future__ import annotations

import json
from pathlib import Path

from darklens.data.parts import part_size
from darklens.files import write_atomic

N, CORES = 10**9, 128
BEGIN, END = "<!-- cost: begin -->", "<!-- cost: end -->"


def cost(rate: dict, n: int = N) -> dict:
    """Return what n cutouts cost at a measured rate: hours of the measured device, bytes in and out, parts."""
    hours = n / rate["images_s"]["darklens"] / 3600
    size = part_size(n)
    return {
        "hours": hours,
        "bytes_in": n * rate["bytes_in"],
        "bytes_out": n * rate["bytes_out"],
        "bytes_in_s": rate["images_s"]["darklens"] * rate["bytes_in"],
        "parts": -(-n // size),
        "minutes_a_part": size / rate["images_s"]["darklens"] / 60,
    }


def page(results: dict) -> str:
    """Return the tables as Markdown."""
    return "\n\n".join(part for part in (_rates(results.get("rates", [])), _surveys(results.get("surveys", []))) if part)


def _rates(rates: list[dict]) -> str:
    if not rates:
        return ""
    lines = [
        f"{N:,} cutouts of 3 x 64 x 64 pixels, reading and writing included.",
        "",
        "| network | measured on | images/s | beside the faster DataLoader loop | device-hours | "
        f"hours on {CORES} of them | TB read | GB written | parts | minutes a part |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for rate in rates:
        c = cost(rate)
        where = rate["accelerator"] or f"{rate['threads']} thread{'s' * (rate['threads'] > 1)} of {rate['machine']['processor']}"
        cells = (
            rate["model"],
            f"{where}, {(rate['commit'] or 'unknown')[:7]}, {rate['date']}",
            f"{rate['images_s']['darklens']:,.0f}",
            f"{rate['ratio_to_the_faster_dataloader']:.2f}x",
            f"{c['hours']:,.0f}",
            f"{c['hours'] / CORES:,.1f}",
            f"{c['bytes_in'] / 1e12:,.1f}",
            f"{c['bytes_out'] / 1e9:,.0f}",
            f"{c['parts']:,}",
            f"{c['minutes_a_part']:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _surveys(surveys: list[dict]) -> str:
    if not surveys:
        return ""
    lines = [
        "Surveys that were scored by the command, with `kill -9` on the way:",
        "",
        "| rows | network | pixels | kills | rows lost | rows doubled | minutes | images/s | most memory, MiB | GB read "
        "| GB written |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in sorted(surveys, key=lambda row: row["rows"]):
        cells = (
            f"{one['rows']:,}",
            one["model"],
            " x ".join(map(str, one["shape"])),
            f"{one['kills']}",
            f"{one['lost']}",
            f"{one['doubled']}",
            f"{one['seconds'] / 60:,.1f}",
            f"{one['images_s']:,.0f}",
            f"{one['rss_mib_max']:,.0f}",
            f"{one['bytes_in'] / 1e9:,.2f}",
            f"{one['bytes_out'] / 1e9:,.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_page(results: Path, path: Path) -> None:
    """Put the tables between the two marks of a page."""
    old = path.read_text()
    text = page(json.loads(results.read_text()))
    write_atomic(path, f"{old.split(BEGIN)[0]}{BEGIN}\n{text}\n{END}{old.split(END)[1]}")
