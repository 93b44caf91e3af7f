"""What deploys the server says only what is there: commands, options, paths, extras."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def options_of(command):
    from darklens import cli

    found = typer.main.get_command(cli.app).commands
    assert command in found
    return {name for parameter in found[command].params for name in parameter.opts}


def check_command(words):
    known = options_of(words[0])
    given = [word for word in words[1:] if word.startswith("--")]
    assert given
    assert set(given) <= known


def test_the_container_file():
    text = (DEPLOY / "Containerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r'"/src\[([\w,]+)\]"', text)[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    assert {"serve", "postgresql"} <= set(extras)
    (python,) = re.findall(r"^FROM python:(\d+\.\d+)", text, re.M)
    assert tuple(map(int, python.split("."))) >= (3, 11)
    words = yaml.safe_load(re.search(r"^CMD (\[.*\])$", text, re.M)[1])
    check_command(words)
    assert yaml.safe_load(re.search(r"^ENTRYPOINT (\[.*\])$", text, re.M)[1]) == ["darklens"]
    assert re.search(r"^USER darklens$", text, re.M)


def test_the_context_has_what_the_package_is_built_from():
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"src", "pyproject.toml", "constraints.txt", project["readme"], *project["license-files"]} <= let_in
    assert all((ROOT / name).exists() for name in let_in)


def test_the_composition():
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = found["services"]["darklens"]
    check_command(service["command"])
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert set(service["depends_on"]) <= set(found["services"])
    inside = {volume.split(":")[-1] if not volume.endswith(":ro") else volume.split(":")[-2] for volume in service["volumes"]}
    paths = [word for word in service["command"] if word.startswith("/")]
    assert set(paths) <= inside
    assert service["environment"]["DARKLENS_DB"].split("@")[1].split("/")[0] in found["services"]


def test_what_the_composition_passes_in_the_environment_is_read():
    from darklens import cli

    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["darklens"]["environment"]
    read = {p.envvar for p in typer.main.get_command(cli.app).commands["serve"].params if p.envvar}
    assert set(found) == read


def test_the_unit():
    text = (DEPLOY / "darklens.service").read_text()
    command = shlex.split(re.search(r"^ExecStart=(.*)$", text, re.M)[1])
    assert Path(command[0]).name == "darklens"
    check_command(command[1:])


@pytest.mark.parametrize("name", ["Containerfile", "compose.yaml", "darklens.service"])
def test_no_secret_stands_there(name):
    for found in re.findall(r"(?:PASSWORD|TOKEN)\w*[:=]\s*(\S+)", (DEPLOY / name).read_text()):
        assert found.startswith(("${", "...", "...", "\\n")), found
