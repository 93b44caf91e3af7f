"""The pins are complete and fit the extras; the bill of materials lists them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import sbom
from darklens.errors import InputError

ROOT = Path(__file__).parents[2]


def test_every_requirement_is_pinned_within_its_bounds_and_once():
    assert sbom.faults(ROOT) == []


def test_what_is_installed_is_what_is_pinned():
    assert sbom.uninstalled(ROOT) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("scipy==", "scipyy=="), "the package needs scipy, which is not pinned"),
        (lambda text: text + "numpy==2.0.0\n", "numpy is pinned 2 times"),
        (
            lambda text: "\n".join("torch==1.0" if line.startswith("torch==") else line for line in text.splitlines()),
            "1.0 is pinned",
        ),
    ],
)
def test_faults_are_found(tmp_path, change, words):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "constraints.txt").write_text(change((ROOT / "constraints.txt").read_text()))
    assert any(words in fault for fault in sbom.faults(tmp_path))


def test_a_line_that_is_no_pin_is_refused(tmp_path):
    (tmp_path / "constraints.txt").write_text("numpy>=2\n")
    with pytest.raises(InputError, match="write NAME==VERSION"):
        sbom.pins(tmp_path / "constraints.txt")


def test_an_extra_that_is_not_there_is_found(tmp_path):
    text = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text.replace("darklens[cluster,zoo", "darklens[clusters,zoo"))
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    assert "extra all asks for the extra clusters, which is not there" in sbom.faults(tmp_path)


def test_the_bill_lists_every_pin_and_is_the_same_each_time():
    bill = sbom.bill(ROOT)
    assert bill == sbom.bill(ROOT)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert len(bill["components"]) == len(sbom.pins(ROOT / "constraints.txt"))
    torch = next(c for c in bill["components"] if c["name"] == "torch")
    assert torch["purl"] == f"pkg:pypi/torch@{torch['version']}"
    assert torch["scope"] == "required"
    assert torch["bom-ref"] in bill["dependencies"][0]["dependsOn"]
    assert next(c for c in bill["components"] if c["name"] == "ray")["scope"] == "optional"


def built(folder: Path, checkout: Path) -> dict[str, bytes]:
    """Build sdist and wheel; return their bytes by name."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(checkout)]
    subprocess.run(command, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1700000000"})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what is under version control, for a build leaves things behind."""
    folder = tmp_path_factory.mktemp("checkout") / "darklens"
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    shutil.copytree(ROOT / "src", folder / "src", ignore=left_out)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.mark.slow
def test_two_builds_have_the_same_bytes(checkout, tmp_path):
    first, second = built(tmp_path / "a", checkout), built(tmp_path / "b", checkout)
    assert len(first) == 2
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_wheel_and_sdist_work_in_an_environment_of_their_own(checkout, tmp_path, kind):
    built(tmp_path / "dist", checkout)
    (package,) = (tmp_path / "dist").glob(kind)
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    inside = next((place / "lib").glob("python*/site-packages"))
    # dependencies are those of this environment, so that nothing is fetched; darklens comes from the package alone
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(inside), str(package)], check=True, capture_output=True)
    here = Path(sys.prefix) / inside.relative_to(place)
    (inside / "dependencies.pth").write_text(f"{here}\n")
    code = "import darklens, sys, json; from darklens.runs import shipped; t = darklens.simulate('model-iii', n=3, seed=1); "
    code += "print(json.dumps([darklens.__file__, len(t), shipped()]))"
    command = [str(place / "bin" / "python"), "-E", "-c", code]  # -E: not what PYTHONPATH names
    found = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    where, rows, runs = json.loads(found.stdout.splitlines()[-1])
    assert Path(where).is_relative_to(inside)
    assert rows == 3
    assert "arcnet:common-test" in runs
