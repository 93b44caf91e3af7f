import io
import json
import runpy

import numpy as np
import pytest
import torch
from astropy.io import fits
from pydantic import ValidationError

from darklens.lensing import critical_curves
from darklens.serve.bench import CAMERAS, Bench, curves_of, image_of, scene_of, view_of
from darklens.serve.bench.keeping import kept
from darklens.serve.bench.parameters import SLIDERS, controls
from darklens.serve.frames import frame, unframed

KINDS = ("none", "subhalos", "points", "vortex", "clump")


def test_frames_survive_the_journey():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b/0": np.zeros((0, 2)), "c": np.array([np.nan, np.inf])}
    header, back = unframed(frame(arrays, number=float("nan"), words="θ"))
    assert header == {"number": None, "words": "θ"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array.astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_the_difference_is_the_substructures_alone(kind):
    view, scene, eye = view_of(Bench(substructure=kind, size=64, noise=False))
    peak = np.abs(view.arrays["difference"]).max()
    assert (peak == 0) == (kind == "none")
    assert view.numbers["half_width"] == pytest.approx(32 * eye.instrument.pixel_scale)
    assert scene.labels == (kind,)


def test_convergence_is_that_of_the_profiles():
    scene = scene_of(Bench(substructure="clump", log10_mass=10.5, x_sub=1.0, y_sub=1.0), CAMERAS["hst-uvis-f814w"])
    view = curves_of(scene, 2.56)
    n = len(view.arrays["kappa"])
    axis = (torch.arange(n, dtype=torch.float64) + 0.5) * 5.12 / n - 2.56
    expected = sum(m.convergence(axis[None, :], axis[:, None])[0] for m in scene.masses()).numpy()
    away = (torch.hypot(axis[None, :], axis[:, None]) > 0.3).numpy()  # a cell's mean is not its middle at a cusp
    away &= (torch.hypot(axis[None, :] - 1, axis[:, None] - 1) > 0.15).numpy()
    np.testing.assert_allclose(view.arrays["kappa"][away], expected[away], rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("kind", ["none", "vortex", "clump"])
def test_critical_curves_are_those_of_the_lens(kind):
    scene = scene_of(Bench(substructure=kind, gamma=2.2), CAMERAS["hst-uvis-f814w"])
    found = np.concatenate([c for name, c in curves_of(scene, 2.56).arrays.items() if name.startswith("critical/")])
    expected = np.concatenate(critical_curves(scene.system(0).masses(), 2.56, 300))
    expected = expected[np.hypot(*expected.T) > 0.5]  # around the singular centre none is real
    found = found[np.hypot(*(found - [0.9, 0.8]).T) > 0.7]  # a string without width is critical all along, to a grid its cells are
    nearest = np.sqrt(((found[:, None] - expected[None]) ** 2).sum(-1)).min(1)
    assert np.quantile(nearest, 0.95) < 0.04


def test_subhaloes_come_one_by_one_and_hold_the_mass_that_is_asked_for():
    counts = [
        int(scene_of(Bench(substructure="subhalos", f_sub=f), CAMERAS["hst-uvis-f814w"]).n_perturbers[0]) for f in (0, 0.005, 0.01)
    ]
    assert counts[0] == 0
    assert counts[2] == pytest.approx(2 * counts[1], abs=1)
    few, many = (
        scene_of(Bench(substructure="subhalos", f_sub=f), CAMERAS["hst-uvis-f814w"]).substructure[0] for f in (0.005, 0.01)
    )
    np.testing.assert_array_equal(few.center_x[0], many.center_x[0, : counts[1]])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"substructure": "subhalos", "f_sub": 0.004, "exposures": 2.0},
        {"substructure": "vortex", "instrument": "as-common-test", "source_mag": 20.0},
        {"substructure": "points", "noise": False, "size": 48},
    ],
)
def test_the_script_makes_the_same_image(values, tmp_path, monkeypatch):
    bench = Bench(**values)
    (tmp_path / "lens.py").write_bytes(kept(bench, "python"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("lens.py")
    np.testing.assert_array_equal(np.load(tmp_path / "image.npy"), image_of(bench)[3])


def test_fits_holds_the_image_and_says_how_it_was_made():
    bench = Bench(substructure="vortex", size=64)
    with fits.open(io.BytesIO(kept(bench, "fits"))) as hdus:
        np.testing.assert_array_equal(hdus[0].data, image_of(bench)[3])
        assert hdus[0].header["BENCH substructure"] == "vortex"
        assert Bench(**{name: hdus[0].header[f"BENCH {name}"] for name in Bench.model_fields}) == bench
        assert np.abs(hdus["FLUX"].data - hdus["SMOOTH"].data).max() > 0


def test_coolest_comes_back_as_the_same_smooth_lens(tmp_path):
    from darklens.simulate import Scene

    bench = Bench(substructure="clump")
    content = json.loads(kept(bench, "coolest"))
    assert "left_out" in content["meta"]
    (tmp_path / "lens.json").write_text(json.dumps(content))
    back, smooth = Scene.from_coolest(tmp_path / "lens.json"), scene_of(bench, CAMERAS[bench.instrument]).smooth()
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    np.testing.assert_allclose(back.trace(x[None], x[:, None])[0], smooth.trace(x[None], x[:, None])[0], atol=1e-9)


def test_what_is_out_of_range_is_refused():
    for wrong in ({"theta_E": 9}, {"theta_E": float("nan")}, {"size": 4096}, {"instrument": "../x"}, {"made_up": 1}):
        with pytest.raises(ValidationError):
            Bench(**wrong)
    assert {c["name"] for c in controls()} == set(SLIDERS)
    assert set(SLIDERS) | {"substructure", "instrument", "noise"} == set(Bench.model_fields)


def test_a_render_is_a_frame_or_a_file(client):
    assert client.post("/api/render", json={"substructure": "clump"}).status_code == 200
    for format, start in (("fits", b"SIMPLE"), ("png", b"\x89PNG"), ("coolest", b"{"), ("python", b'"""')):
        answer = client.post(f"/api/render?format={format}", json={"size": 48})
        assert answer.content.startswith(start)
        assert "attachment" in answer.headers["content-disposition"]
    for wrong in ({"theta_E": 9}, {"instrument": "nowhere"}, [], "x"):
        answer = client.post("/api/render", json=wrong)
        assert 400 <= answer.status_code < 500
        assert set(answer.json()) == {"error"}


def test_the_laboratory_is_live(client):
    with client.websocket_connect("/api/live", headers={"origin": "http://127.0.0.1", "host": "127.0.0.1"}) as socket:
        for sequence in (1, 2):
            socket.send_text(json.dumps({"sequence": sequence, "bench": {"substructure": "clump", "size": 48}}))
            quick = socket.receive_bytes()
            assert (int.from_bytes(quick[:4], "little"), int.from_bytes(quick[4:8], "little")) == (0, sequence)
            assert set(unframed(quick[8:])[1]) == {"image", "difference", "source"}
            slow = socket.receive_bytes()
            assert int.from_bytes(slow[:4], "little") == 1
            assert "kappa" in unframed(slow[8:])[1]
        for wrong in ("junk", json.dumps({"bench": {"theta_E": 99}}), json.dumps({"bench": {"instrument": "nowhere"}})):
            socket.send_text(wrong)
            assert set(json.loads(socket.receive_text())) == {"error"}
        socket.send_text(json.dumps({"sequence": 3, "bench": {"size": 48}}))
        assert int.from_bytes(socket.receive_bytes()[4:8], "little") == 3, "it goes on after an error"


def test_a_page_elsewhere_gets_no_live_line(client):
    from starlette.websockets import WebSocketDisconnect

    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/api/live", headers={"origin": "http://evil.example", "host": "127.0.0.1"}),
    ):
        pass


def test_a_network_judges_the_bench_as_its_own_images_were_made(client):
    bench = {
        "R_sersic": 0.5,
        "n_sersic": 1.5,
        "e1": 0,
        "e2": 0,
        "substructure": "vortex",
        "log10_mass": 9.9,
        "x_sub": 0.4,
        "y_sub": 0.3,
    }
    header, arrays = unframed(client.post("/api/classify", json={"bench": bench}).content)
    assert arrays["image"].shape == (150, 150)
    assert header["with"]["predicted"] == "vort"
    assert header["without"]["predicted"] == "no"
    assert arrays["residual"].shape == (150, 150)
    assert header["fit"]["chi2"] > 1.01
    refused = client.post("/api/classify", json={"bench": {}, "model": "p4m-resnet:lens-finding"})
    assert refused.status_code == 400
    assert "which the laboratory does not make" in refused.json()["error"]
