"""Commands about this machine: doctor."""

from __future__ import annotations

from darklens.cli.application import app
from darklens.cli.shared import Json, short


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can do."""
    from darklens import console
    from darklens.doctor import examine

    content = examine()
    if as_json:
        return console.show_json(content)
    console.table("darklens doctor", ["", ""], [[k, short(v)] for k, v in content.items()])
    return None
