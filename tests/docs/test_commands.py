"""Every command line in README and docs parses: the command, its options, the recipes and presets that it names."""

import ast
import re

import pytest
import typer
import yaml
from tests.docs.blocks import NOTEST, PAGES, blocks, commands, name_of

from darklens.cli.application import app

NOT_EXECUTED = 10
"""Blocks of the documentation that cannot run here; one more needs a reason, and this number."""
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_:/.]*|.*[/.].*|.*:.*|.*\|.*")
"""What stands for something of the reader's: RECIPE, runs/mine, mine.yaml, arcnet:common-test."""


@pytest.fixture(scope="module")
def known():
    import darklens.cli  # noqa: F401  - registers the commands

    return typer.main.get_command(app).commands


def command_of(words, known):
    """Return a command, or the sub-commands that `a|b` stands for, and the words behind its name."""
    assert words[0] in known, f"there is no command {words[0]!r}"
    command, rest = known[words[0]], words[1:]
    if hasattr(command, "commands"):
        for name in rest[0].split("|"):
            assert name in command.commands, f"darklens {words[0]} has no command {name!r}"
        return command.commands[rest[0].split("|")[0]], rest[1:]
    return command, rest


def check(words, known):
    command, rest = command_of(words, known)
    options = {name: option for option in command.params for name in option.opts + option.secondary_opts}
    for word in rest:
        if word.startswith("--") and word != "--help":
            assert word.split("=")[0].strip("[]") in options, f"darklens {words[0]} has no option {word}"
    named(words, rest)


def named(words, rest):
    from darklens.recipes import names
    from darklens.simulate import PAIRS, PRESETS

    recipes, presets = names(), [*PRESETS, *PAIRS]
    lists = {"train": recipes, "tune": recipes, "simulate": presets, "show": presets, "limit": presets}
    if words[0] in lists and rest and not rest[0].startswith("-") and not PLACEHOLDER.fullmatch(rest[0]):
        assert rest[0] in lists[words[0]], f"darklens {words[0]} {rest[0]}: there is no such name"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_parses(page, known):
    for words in commands(page):
        if not words[0].startswith(("-", "COMMAND")):
            check(words, known)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_python_and_yaml_parses(page):
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.code)
        elif block.language == "yaml":
            assert isinstance(yaml.safe_load(block.code), dict)
        else:
            assert block.language in ("bash", "math", "text"), f"nobody tests blocks of {block.language}"


def test_wrong_command_lines_are_found(known):
    for wrong in (["trian", "demo"], ["train", "demo", "--epoch", "3"], ["active", "begin"], ["simulate", "model-iv"]):
        with pytest.raises(AssertionError):
            check(wrong, known)


def test_blocks_that_are_not_executed_are_counted():
    marked = [block for page in PAGES for block in blocks(page) if block.why_not]
    remarks = [why for page in PAGES for why in NOTEST.findall(page.read_text())]
    assert len(marked) == len(remarks) == NOT_EXECUTED, [block.why_not for block in marked]
