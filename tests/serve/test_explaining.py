import io

import numpy as np
import pytest
import torch

from darklens.explain import METHODS, Question, maps_of
from darklens.runs import Run, locate
from darklens.serve.frames import unframed
from darklens.train.predictor import Predictor
from darklens.train.preprocess import prepare


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients"])
def test_a_map_is_the_methods_own_on_the_pixels_of_the_image(client, lenses, method):
    answer = client.post(f"/api/explain?method={method}&target=vort", content=npy(lenses[2, 0]))
    header, arrays = unframed(answer.content)
    assert header["explanations"][0]["explained"] == "vort"
    assert header["explanations"][0]["window"] == [23, 23, 104, 104], "the network sees the middle"
    np.testing.assert_array_equal(arrays["image/0"], lenses[2, 0])
    run = Predictor(Run(locate("arcnet:common-test")), "cpu")
    inputs = prepare(torch.from_numpy(run.inputs(lenses[2:3])), run.preprocess)
    expected = maps_of(METHODS[method], Question.of(run.model, run.task, inputs, torch.tensor([2]), kind="evidence"))[0]
    got, inside = arrays["map/0"], arrays["map/0"][23:127, 23:127]
    binned = inside.reshape(52, 2, 52, 2).mean((1, 3))
    np.testing.assert_allclose(binned, expected, atol=1e-3 * expected.max())
    assert got.sum() == pytest.approx(inside.sum()), "nothing where the network does not look"


def test_the_answer_that_was_given_is_explained(client, lenses):
    predicted = [row["predicted"] for row in client.post("/api/predict", content=npy(lenses)).json()["predictions"]]
    header, arrays = unframed(client.post("/api/explain", content=npy(lenses)).content)
    assert [row["explained"] for row in header["explanations"]] == predicted
    name = header["explanations"][1]["name"]
    alone, few = unframed(client.post("/api/explain", params={"image": name}, content=npy(lenses)).content)
    assert [row["name"] for row in alone["explanations"]] == [name]
    np.testing.assert_allclose(few["map/0"], arrays["map/1"], atol=1e-3 * arrays["map/1"].max())


def test_looking_leaves_judgements_as_they_are(client, lenses):
    before = client.post("/api/predict", content=npy(lenses[1, 0])).json()["predictions"][0]["probabilities"]
    client.post("/api/explain", content=npy(lenses[1, 0]))
    after = client.post("/api/predict", content=npy(lenses[1, 0])).json()["predictions"][0]["probabilities"]
    assert before == after


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("method=grad", "unknown method 'grad': did you mean 'grad-cam'?"),
        ("method=attention-rollout", "ArcNet has no attention that could be followed"),
        ("target=axion", "unknown class 'axion'"),
        ("image=other.npy", "unknown image of this request 'other.npy'"),
        ("model=nope", "unknown model 'nope'"),
    ],
)
def test_what_cannot_be_explained_gets_one_sentence(client, lenses, query, sentence):
    answer = client.post(f"/api/explain?{query}", content=npy(lenses[0, 0]))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)


def test_explanations_are_few_at_once(client, lenses):
    answer = client.post("/api/explain", content=npy(np.concatenate([lenses, lenses[:2]])))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("5 images to explain at once, the limit is 4")
    assert client.post("/api/explain", content=b"junk").json()["error"].endswith("send FITS, .npy, .npz or PNG")


def test_a_queue_for_explanations_that_is_full_says_so(lenses):
    from fastapi.testclient import TestClient

    from darklens.serve import Limits, Settings
    from darklens.serve.app import create_app

    with TestClient(create_app(Settings(limits=Limits(explanations=0))), base_url="http://127.0.0.1") as busy:
        answer = busy.post("/api/explain?model=arcnet:common-test", content=npy(lenses[0, 0]))
        assert answer.status_code == 503
        assert answer.json()["error"].endswith("come again in a second")


def test_the_bench_is_explained_as_the_network_was_shown_it(client):
    bench = {"substructure": "vortex", "log10_mass": 9.9, "x_sub": 0.4, "y_sub": 0.3}
    shown, pictures = unframed(client.post("/api/classify", json={"bench": bench}).content)
    header, arrays = unframed(client.post("/api/explain/bench", json={"bench": bench}).content)
    np.testing.assert_array_equal(arrays["image"], pictures["image"])
    assert header["explained"] == shown["with"]["predicted"]
    assert header["half_width"] == shown["half_width"] == pytest.approx(75 * 0.05)
    other = unframed(client.post("/api/explain/bench", json={"bench": bench | {"substructure": "none"}, "target": "vort"}).content)
    assert np.abs(other[1]["map"] - arrays["map"]).max() > 0.01 * arrays["map"].max(), "another lens, another map"
    for wrong in ({"method": "x"}, {"target": "axion"}, {"model": "p4m-resnet:lens-finding"}, {"made_up": 1}):
        answer = client.post("/api/explain/bench", json={"bench": bench} | wrong)
        assert answer.status_code in (400, 422)
        assert set(answer.json()) == {"error"}
    assert client.post("/api/explain/bench", content=b"x" * (1 << 15)).status_code == 413, "numbers are no files"
