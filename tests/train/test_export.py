"""Networks as ONNX files: the graph, its metadata, and what is refused."""

import json
import sys

import numpy as np
import pytest
import torch

import darklens
from darklens.errors import InputError, WorkError
from darklens.models import build, models_for
from darklens.runs import Run
from darklens.simulate import simulate
from darklens.train import onnx_file
from darklens.train.checkpoint import save_weights
from darklens.train.config import Preprocess
from darklens.train.onnx_file import METADATA, export_onnx
from darklens.train.own_images import own_images
from darklens.train.predictor import Predictor, build_model

onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "darklens[onnx]"')
CLASSES = ["no_sub", "cdm", "axion"]


def untrained(path, name="cnn", classes=CLASSES, shape=(1, 64, 64), temperature=1.7, fit=None, symmetries=False, **preprocess):
    """A run whose network has learnt nothing: enough to answer."""
    binary = len(classes) == 2
    described = {"name": name, "options": {}, "seed": 3, "classes": list(classes), "group": {}, "single_logit": binary}
    described |= {"shape": list(shape), "pixel_scale": 0.08, "flux_unit": "e-/s", "symmetries": symmetries, "torch": "x"}
    described["preprocess"] = Preprocess(**preprocess).model_dump()
    if fit:
        described["fit"] = fit
    run = Run.create(path, {"name": "untrained"})
    run.write("model", described)
    run.write("calibration", {"temperature": temperature, "fitted_on": "validation", "n": 0})
    model = build_model(described, 1 if binary else len(classes))
    generator, outputs = torch.Generator().manual_seed(0), 1 if binary else len(classes)
    for parameter in model.parameters():  # every number matters: biases and scales are not what they start as
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    for layer in model.modules():  # answers that differ as much as those of a trained network
        if isinstance(layer, torch.nn.Linear) and layer.out_features == outputs:
            layer.weight.data *= 100
    save_weights(run.path / "weights.safetensors", model.state_dict())
    return run


def ask(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits", "probabilities"], {session.get_inputs()[0].name: images}), session


def test_a_network_on_images_needs_nothing_but_its_file(tmp_path):
    images = np.random.default_rng(0).gamma(1.0, 50.0, (5, 1, 72, 72)).astype(np.float32)  # raw numbers, as recorded
    run = untrained(tmp_path / "run", classes=["no", "sub"], shape=(1, 72, 72), symmetries=True, crop=64, stretch="asinh")
    predictor = Predictor(run, "cpu")
    report = export_onnx(predictor, images, tmp_path / "out" / "cnn.onnx")
    (logits, probabilities), session = ask(tmp_path / "out" / "cnn.onnx", images[:2])
    assert np.abs(probabilities - predictor.probabilities(images[:2])).max() < 1e-4
    assert np.abs(logits - predictor.logits(images[:2])).max() < 1e-4
    assert probabilities.std(0).min() > 5e-4  # the images differ, and so do the answers, by far more than is allowed above
    assert ask(tmp_path / "out" / "cnn.onnx", images[:1])[0][1].shape == (1, 2)
    assert [i.name for i in session.get_inputs()] == ["image"]
    assert report.shape == ("n", 1, 72, 72)
    assert report.checked_on == 5
    said = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert set(METADATA) <= set(said)
    assert (said["classes"], said["temperature"], said["shape"]) == (["no", "sub"], 1.7, [1, 72, 72])
    assert Preprocess(**said["preprocess"]) == predictor.preprocess
    assert said["symmetries"] is True


def test_a_network_on_residuals_takes_what_the_fit_leaves(tmp_path):
    from darklens.fit.request import Request

    table = simulate("model-iii-noisy", 3, seed=5)
    plan = Request().plan(table.images(), table.manifest)
    run = untrained(tmp_path / "run", "arcnet", fit=plan.as_dict(), input="both", crop=48, limit=5.0)
    predictor = Predictor(run, "cpu")
    inputs = predictor.inputs(table.images())
    report = export_onnx(predictor, table.images(), tmp_path / "arcnet.onnx")
    (_, probabilities), session = ask(tmp_path / "arcnet.onnx", inputs)
    assert (report.input, session.get_inputs()[0].name) == ("residual_and_image",) * 2
    assert inputs.shape[1:] == report.shape[1:] == (2, 64, 64)
    assert np.abs(probabilities - predictor.probabilities(table.images())).max() < 1e-4
    assert json.loads(session.get_modelmeta().custom_metadata_map["fit"])["model"] == plan.model.name


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch):
    """The writer is replaced by one that writes the graph of a linear layer: no tracing is needed to see what the check does."""
    import onnx
    from onnx import TensorProto, helper

    def wrong(predictor, inputs, path):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 64, 64])
        outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("logits", "probabilities")]
        third = helper.make_tensor("third", TensorProto.FLOAT, [4096, 3], np.full(4096 * 3, 1e-7, np.float32))
        nodes = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "third"], ["logits"])]
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"]))
        graph = helper.make_graph(nodes, "wrong", [image], outs, [third])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)

    monkeypatch.setattr(onnx_file, "_write", wrong)
    images = np.random.default_rng(0).random((4, 1, 64, 64), np.float32)
    predictor = Predictor(untrained(tmp_path / "run"), "cpu")
    with pytest.raises(WorkError, match=r"answers otherwise .* nothing was written"):
        export_onnx(predictor, images, tmp_path / "wrong.onnx")
    monkeypatch.setattr(onnx_file, "_write", lambda predictor, inputs, path: path.write_bytes(b"no graph"))
    with pytest.raises(WorkError, match="cannot run the file"):
        export_onnx(predictor, images, tmp_path / "wrong.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_what_cannot_be_exported_is_said_in_one_sentence(tmp_path, monkeypatch):
    run = untrained(tmp_path / "run")
    predictor, images = Predictor(run, "cpu"), np.zeros((4, 1, 64, 64), np.float32)
    with pytest.raises(InputError, match=r"is no \.onnx file"):
        export_onnx(predictor, images, tmp_path / "net.pt")
    (tmp_path / "there.onnx").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        export_onnx(predictor, images, tmp_path / "there.onnx")
    with pytest.raises(InputError, match="at least 3"):
        export_onnx(predictor, images[:2], tmp_path / "new.onnx")
    assert (tmp_path / "there.onnx").read_text() == "mine"

    class Refused(torch.onnx.errors.OnnxExporterError):
        pass

    def refuse(*args, **options):
        raise Refused("no ONNX function\nand a long story") from RuntimeError("aten.strange is not implemented")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(InputError, match=r"model 'cnn' cannot be written as ONNX \(aten.strange is not implemented\).*hub-folder"):
        export_onnx(predictor, images, tmp_path / "new.onnx")


def test_missing_packages_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r'onnxscript.*pip install "darklens\[onnx\]"'):
        darklens.export(untrained(tmp_path / "run"), tmp_path / "x.onnx", to="onnx")


def test_runs_and_images_have_their_own_layouts(tmp_path):
    run = untrained(tmp_path / "run")
    simulate("model-iii", 3, seed=1, out=tmp_path / "table")
    for of, options, words in (
        (run.path, {"to": "fits"}, "is a run"),
        (run.path, {}, "is a run"),
        (tmp_path / "table", {"to": "onnx"}, "is no run"),
        (run.path, {"to": "torchscript"}, "unknown layout 'torchscript'"),
        (run.path, {"to": "onnx", "band_axis": True}, "--band-axis"),
        (tmp_path / "table", {"to": "fits", "data": run.path}, "--data"),
    ):
        with pytest.raises(InputError, match=words):
            darklens.export(of, tmp_path / "out", **options)
    assert darklens.export(tmp_path / "table", tmp_path / "tree")["layout"] == "deeplense"


def test_own_images_are_those_of_the_test_split(tmp_path):
    run = untrained(tmp_path / "run")
    with pytest.raises(InputError, match="--data PATH"):
        own_images(run, 4)
    table = simulate("model-iii", 6, seed=9, out=tmp_path / "table")
    card = {"preset": "model-iii", "splits": {"test": {"path": str(table.path), "seed": 9}}}
    run.write("data", card)
    assert np.array_equal(own_images(run, 4), table.images(np.arange(4)))
    run.write("data", card | {"splits": {"test": {"path": str(tmp_path / "gone"), "seed": 9}}})
    assert np.array_equal(own_images(run, 4), table.images(np.arange(4)))  # simulated anew
    assert np.array_equal(own_images(run, 2, tmp_path / "table"), table.images(np.arange(2)))
    with pytest.raises(InputError, match="1x64x64 and the run sees 1x72x72"):
        own_images(untrained(tmp_path / "other", shape=(1, 72, 72)), 2, tmp_path / "table")


@pytest.mark.slow
@pytest.mark.parametrize("name", models_for("classification"))
def test_every_model_can_be_exported(tmp_path, name):
    build(name, size=64)
    images = simulate("model-iii", 5, seed=2).images()
    export_onnx(Predictor(untrained(tmp_path / "run", name), "cpu"), images, tmp_path / "model.onnx")
