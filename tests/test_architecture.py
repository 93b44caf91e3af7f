import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "darklens"
ROWS = {
    **dict.fromkeys(("errors", "units"), 0),
    "files": 0.5,  # stands on errors alone
    "native": 0.7,
    **dict.fromkeys(("lensing", "data", "runs"), 1),
    **dict.fromkeys(("simulate", "evaluate"), 2),
    "fit": 3,
    "models": 4,
    **dict.fromkeys(("train", "explain", "infer"), 5),
    **dict.fromkeys(("recipes", "report", "serve"), 6),
    "cluster": 7,
    **dict.fromkeys(("api", "cli", "console", "doctor", "__init__", "__main__"), 8),
}
FILES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0].removesuffix(".py")


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Names of the darklens modules (or, for the light import, any module) that a file imports."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "darklens":
                found |= {f"darklens.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_above_it(path):
    here = room(path)
    assert here in ROWS, f"{here} has no row in the design"
    if ROWS[here] == 8:
        return
    for name in imports(path):
        if not name.startswith("darklens."):
            continue
        there = name.split(".")[1]
        assert there == here or ROWS[there] < ROWS[here], f"{path.name} in {here} imports {name}"


def test_no_import_cycles():
    graph = {}
    for path in FILES:
        module = ".".join(("darklens", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        graph[module] = {n for n in imports(path, top_level=True) if n.startswith("darklens")} - {module}
    graph = {m: {n for n in targets if n in graph} for m, targets in graph.items()}
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for target in sorted(graph[module]):
            visit(target)
        done.add(path.pop())

    for module in graph:
        visit(module)


def test_files_stay_readable():
    for path in FILES:
        text = path.read_text()
        assert text.count("\n") <= 400, f"{path} is longer than 400 lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                length = node.end_lineno - node.body[0].lineno + 1
                assert length <= 60, f"{path.name}:{node.name} has a body of {length} lines"


def test_init_files_only_re_export():
    """At once, or (`__getattr__`, with imports for type checkers) when a name is first used."""
    for path in SOURCE.rglob("*/__init__.py"):
        for node in ast.parse(path.read_text()).body:
            lazily = getattr(node, "name", "") == "__getattr__" or (isinstance(node, ast.If) and node.test.id == "TYPE_CHECKING")
            at_once = isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.Expr)
            assert at_once or lazily, f"{path}: line {node.lineno}"


@pytest.mark.parametrize("statement", ["import darklens", "import darklens.cli, typer; darklens.cli.app"])
def test_light_import(statement):
    heavy = ("ray", "fastapi", "matplotlib", "transformers", "torch", "pandas", "sklearn")
    code = f"import sys; {statement}; print(','.join(m for m in {heavy!r} if m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == ""


def test_rooms_do_not_hide_functions_of_the_same_name():
    import darklens
    import darklens.simulate.priors

    for name in darklens.__all__:
        assert callable(getattr(darklens, name)), name


def test_nothing_unpickles_or_evaluates():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("eval", "exec", "pickle.load", "pickle.loads"), f"{path.name}:{node.lineno} calls {name}"
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("allow_pickle") != "True", f"{path.name}:{node.lineno}"
                assert name != "torch.load" or keywords.get("weights_only") == "True", f"{path.name}:{node.lineno}"
