"""What the site needs beside Markdown: formulas as MathML, notebooks as pages, and the page of all commands.

Formulas are written as GitHub reads them, in a block ```math or inline as $`x`$; a browser draws MathML without any script.
"""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```math\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"\$`([^`\n]+)`\$")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Turn formulas into MathML."""
    markdown = _BLOCK.sub(lambda found: f'\n<div class="formula">{convert(found[1], display="block")}</div>\n', markdown)
    return _INLINE.sub(lambda found: f"<span>{convert(found[1])}</span>", markdown)  # alone, <math> would begin a block


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every notebook, with its pictures, and the page of the commands."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for name, content in _notebook(path).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    files.append(File.generated(config, "commands.md", content=_commands()))
    return files


def _notebook(path: Path) -> dict[str, str | bytes]:
    """Return the page of a notebook and its pictures by their names."""
    import nbformat

    made: dict[str, str | bytes] = {}
    lines: list[str] = []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "markdown":
            lines += [cell.source, ""]
            continue
        lines += ["```python", cell.source, "```", ""]
        for k, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{number}-{k}.png"
                made[name] = base64.b64decode(data["image/png"])
                lines += [f"![{cell.metadata.get('alt', f'Picture of cell {number}')}]({name})", ""]
            elif text := output.get("text") or data.get("text/plain"):
                lines += ["```text", text.rstrip(), "```", ""]
    return made | {f"{path.stem}.md": "\n".join(lines)}


def _commands() -> str:
    """Return a page with every command, its arguments and options, from the program itself."""
    import typer

    from darklens.cli.application import app

    lines = ["# Commands", "", "Made from the program itself; `darklens COMMAND --help` says the same.", ""]
    for name, command in sorted(typer.main.get_command(app).commands.items()):
        lines += _command(f"darklens {name}", command, 2)
    return "\n".join(lines)


def _command(name: str, command: object, level: int) -> list[str]:
    lines = [f"{'#' * level} {name}", "", html.escape((command.help or "").strip(), quote=False), ""]
    if hasattr(command, "commands"):
        return lines + [
            line for one in sorted(command.commands) for line in _command(f"{name} {one}", command.commands[one], level + 1)
        ]
    rows = [(_words(one), " ".join((getattr(one, "help", None) or "").split())) for one in command.params if one.name != "help"]
    if rows:
        lines += [
            "| argument or option | |",
            "|---|---|",
            *(f"| `{words}` | {html.escape(text, quote=False).replace('|', '&#124;')} |" for words, text in rows),
            "",
        ]
    return lines


def _words(parameter: object) -> str:
    if parameter.param_type_name == "argument":
        return (
            parameter.make_metavar_text()
            if hasattr(parameter, "make_metavar_text")
            else (parameter.metavar or parameter.name.upper())
        )
    return ", ".join(parameter.opts)
