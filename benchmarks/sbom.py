"""What darklens stands on, as a bill of materials (CycloneDX 1.5), and whether the pins are complete.

python -m benchmarks.sbom --out build/sbom.json     write it from pyproject.toml and constraints.txt; nothing is fetched
python -m benchmarks.sbom --check                   every requirement is pinned, within its bounds, and once
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tomllib
import uuid
from collections import Counter
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from darklens.errors import InputError
from darklens.files import write_json

ROOT = Path(__file__).resolve().parents[1]


def pins(path: Path) -> list[tuple[str, str]]:
    """Return name and version of every pin, in the file's order.

    Raises:
        InputError: a line is no pin `NAME==VERSION`.
    """
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;]+)", line) for line in lines if line]
    if None in found:
        wrong = [line for line in lines if line][found.index(None)]
        raise InputError(f"{path} has the line {wrong!r}: write NAME==VERSION")
    return [(one[1], one[2]) for one in found if one]


def requirements(project: dict) -> dict[str, list[Requirement]]:
    """Return what the package and each of its extras require; "" is the package itself."""
    found = {"": [Requirement(text) for text in project["dependencies"]]}
    return found | {name: [Requirement(text) for text in texts] for name, texts in project["optional-dependencies"].items()}


def faults(root: Path) -> list[str]:
    """Say what is wrong with the pins: missing, out of bounds, doubled; and extras that ask for an extra that is not there."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    listed = pins(root / "constraints.txt")
    counts = Counter(canonicalize_name(name) for name, _ in listed)
    versions = {canonicalize_name(name): version for name, version in listed}
    found = [f"{name} is pinned {n} times" for name, n in counts.items() if n > 1]
    wanted = requirements(project)
    for extra, needs in wanted.items():
        where = f"extra {extra}" if extra else "the package"
        for need in needs:
            name = canonicalize_name(need.name)
            if name == project["name"]:
                found += [f"{where} asks for the extra {one}, which is not there" for one in sorted(need.extras - set(wanted))]
            elif name not in versions:
                found.append(f"{where} needs {need.name}, which is not pinned")
            elif versions[name] not in need.specifier:
                found.append(f"{where} needs {need}, and {versions[name]} is pinned")
    return found


def uninstalled(root: Path) -> list[str]:
    """Say which packages that darklens and its extras need, directly or not, are installed in another version than is pinned."""
    from importlib.metadata import PackageNotFoundError, distribution

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    versions = {canonicalize_name(name): version for name, version in pins(root / "constraints.txt")}
    pending = [need for needs in requirements(project).values() for need in needs]
    seen, found = {canonicalize_name(project["name"])}, []
    while pending:
        need = pending.pop()
        name = canonicalize_name(need.name)
        if name in seen or (need.marker and not need.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        try:
            there = distribution(name)
        except PackageNotFoundError:
            continue
        if versions.get(name) != there.version.partition("+")[0]:
            found.append(f"{name} {there.version} is installed, {versions.get(name, 'nothing')} is pinned")
        pending += [Requirement(text) for text in there.requires or []]
    return found


def bill(root: Path) -> dict:
    """Return the bill of materials; the same files give the same bill."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    digest = hashlib.sha256((root / "constraints.txt").read_bytes() + (root / "pyproject.toml").read_bytes()).digest()
    direct = {canonicalize_name(need.name): extra for extra, needs in reversed(requirements(project).items()) for need in needs}
    components = []
    for name, version in sorted(pins(root / "constraints.txt"), key=lambda pin: canonicalize_name(pin[0])):
        purl = f"pkg:pypi/{canonicalize_name(name)}@{version}"
        scope = "required" if direct.get(canonicalize_name(name)) == "" else "optional"
        components.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "scope": scope})
    own = f"pkg:pypi/{project['name']}@{project['version']}"
    about = {"type": "library", "bom-ref": own, "name": project["name"], "version": project["version"], "purl": own}
    about |= {"licenses": [{"license": {"id": project["license"]}}]}
    needs = sorted(c["bom-ref"] for c in components if c["scope"] == "required")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16])}",
        "version": 1,
        "metadata": {"component": about},
        "components": components,
        "dependencies": [{"ref": own, "dependsOn": needs}],
    }


def main() -> None:
    """Write the bill, or check the pins."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    if asked.check:
        found = [*faults(ROOT), *uninstalled(ROOT)]
        print("\n".join(found) or "every requirement is pinned, within its bounds, and once")
        sys.exit(bool(found))
    if asked.out:
        write_json(asked.out, bill(ROOT))
    else:
        print(json.dumps(bill(ROOT), indent=1))


if __name__ == "__main__":
    main()
