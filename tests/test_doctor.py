import importlib.util

import pytest

from darklens import doctor


def test_it_knows_devices_memory_and_how_to_train_here(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    found = doctor.examine()
    assert found["devices"][0] == "cpu"
    assert found["memory_free_gib"]["cpu"] > 0
    assert found["threads"]["logical_cores"] >= found["threads"]["physical_cores"] >= 1
    assert found["bf16"]["gain_over_float32"] > 0
    assert found["slurm"] is None
    assert found["training"]["command"].startswith("darklens train RECIPE")


def test_a_job_of_several_nodes_is_started_with_srun(monkeypatch):
    for name, value in {"JOB_ID": "17", "JOB_NUM_NODES": "4", "NTASKS": "32", "NTASKS_PER_NODE": "8"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    job = doctor.slurm()
    assert job == {"job": 17, "nodes": 4, "tasks": 32, "tasks_per_node": 8}
    command = doctor.suggestion(job)["command"]
    assert command == "srun darklens train RECIPE --devices 8 --nodes 4 --set train.micro_batch=auto"


def test_what_is_missing_comes_with_its_remedy(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name in ("optuna", "onnx") else there(name, *a))
    found = doctor.examine()
    assert {"optuna: darklens tune", "onnx: export to ONNX"} <= set(found["missing"])
    assert any('pip install "darklens[' in s and "onnx" in s and "tune" in s for s in found["advice"])


@pytest.mark.parametrize(
    ("threads", "bf16", "expected"),
    [
        ({"used_by_torch": 2, "physical_cores": 1, "gain_over_one": 1.1}, 0.4, ["only 1.10 times", "bf16 is slower"]),
        ({"used_by_torch": 4, "physical_cores": 2, "gain_over_one": 1.9}, 2.0, ["OMP_NUM_THREADS=2", "bf16 is 2.00 times"]),
        ({"used_by_torch": 1, "physical_cores": 1, "gain_over_one": None}, 1.0, []),
    ],
)
def test_advice_on_threads_and_formats(threads, bf16, expected):
    advice = doctor._on_speed(threads, {"device": "cpu", "gain_over_float32": bf16}, accelerated=False)
    assert len(advice) == len(expected)
    assert all(part in sentence for part, sentence in zip(expected, advice, strict=True))
