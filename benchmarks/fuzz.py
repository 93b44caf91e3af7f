"""Mutate files of every kind and read them, thousands of times; print what was read, refused and found.

python -m benchmarks.fuzz --examples 10000 --seed 1
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

from benchmarks.fuzz_cases import CASES, Case, drawn, mutated
from benchmarks.fuzz_guard import Guard, Verdict
from darklens.errors import WorkError


class Fuzzer:
    """Builds the cases in a folder, mutates them and has them read.

    Args:
        folder: an empty folder.
        guard: the process that reads.
        cases: what is read.
    """

    def __init__(self, folder: Path, guard: Guard, cases: dict[str, Case] = CASES) -> None:
        self.guard, self.cases = guard, cases
        self.built = {name: case.prepare(folder / name) for name, case in cases.items()}

    def whole(self, name: str) -> Verdict:
        """Have a case read as it is; what reads it is imported meanwhile, which may take its time."""
        first = self.guard.ask(name, self.built[name][0], seconds=120)
        if first.kind != "executed":
            return first
        return self.guard.ask(name, self.built[name][0], seconds=120)  # kernels are compiled and loaded once, and not again

    def broken(self, name: str, mutations: list[tuple]) -> Verdict:
        """Have a case read after mutations."""
        path, target, content = self.built[name]
        before = target.read_bytes()
        target.write_bytes(self.cases[name].wrap(mutated(content, mutations)))
        try:
            first = self.guard.ask(name, path)
            return first if first.kind != "hang" else self.guard.ask(name, path, seconds=20)  # a busy machine does not hang twice
        finally:
            target.write_bytes(before)


def campaign(examples: int, number: int, known: str = "benchmarks.fuzz_cases.CASES") -> dict:
    """Fuzz; return counts by case and verdict, the slowest, the largest, and the findings."""
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[str, dict] = {}
    worst = {"seconds": 0.0, "mib": 0.0}
    module, _, listed = known.rpartition(".")
    cases = getattr(importlib.import_module(module), listed)
    with tempfile.TemporaryDirectory() as folder, Guard(known) as guard:
        fuzzer = Fuzzer(Path(folder), guard, cases)
        for name in cases:
            verdict = fuzzer.whole(name)
            if verdict.kind != ("refused" if cases[name].refused else "read"):
                raise WorkError(f"case {name} as it was built is not read: {verdict.text}")

        rng = random.Random(number)
        with suppress(KeyboardInterrupt):  # what was done until then is reported
            for done in range(examples):
                name, mutations = rng.choice(sorted(cases)), drawn(rng)
                verdict = fuzzer.broken(name, mutations)
                counts[name, verdict.kind] += 1
                worst = {key: max(value, getattr(verdict, key)) for key, value in worst.items()}
                if done % 250 == 249:
                    print(
                        f"{done + 1}: {dict(Counter(kind for _, kind in counts.elements()))}, most {worst}",
                        file=sys.stderr,
                        flush=True,
                    )
                key = f"{name} {verdict.kind} {verdict.text[:60]}"
                if not verdict.harmless and key not in found:
                    print(f"{done}: {key}", file=sys.stderr, flush=True)
                    found[key] = {"case": name, "verdict": verdict.kind, "text": verdict.text, "mutations": repr(mutations)}
    by_verdict = Counter()
    for (_, kind), n in counts.items():
        by_verdict[kind] += n
    by_case = {name: {kind: n for (case, kind), n in sorted(counts.items()) if case == name} for name in cases}
    return {
        "examples": sum(counts.values()),
        "verdicts": dict(by_verdict),
        "worst": worst,
        "cases": by_case,
        "findings": list(found.values()),
    }


def main() -> None:
    """Print the campaign as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", action="store_true", help="send requests to the server instead of reading files")
    asked = parser.parse_args()
    known = "benchmarks.fuzz_requests.REQUESTS" if asked.requests else "benchmarks.fuzz_cases.CASES"
    print(json.dumps(campaign(asked.examples, asked.seed, known), indent=1))


if __name__ == "__main__":
    main()
