import numpy as np
from PIL import Image

from darklens.evaluate import injection_gallery
from darklens.evaluate.injection_gallery import Injected, save_injection_gallery
from darklens.evaluate.style import new_figure


def test_sky_without_noise_is_black_and_arcs_are_not(tmp_path, monkeypatch):
    """The arcs alone have neither sky nor noise: a grey panel would look like light."""
    rng = np.random.default_rng(0)
    arcs = np.zeros((3, 20, 20))
    arcs[:, 14:16, 8:12] = np.array([60.0, 40.0, 30.0])[:, None, None]
    galaxy = rng.normal(10, 2, (3, 20, 20)) + 200 * np.exp(-((np.indices((20, 20)) - 10) ** 2).sum(0) / 8)
    made = []
    monkeypatch.setattr(injection_gallery, "new_figure", lambda *size: made.append(new_figure(*size)) or made[-1])
    save_injection_gallery(tmp_path / "g.png", [Injected(galaxy, galaxy + arcs, arcs, "one")], "title")
    (figure,) = made
    before, after, alone = (ax.images[0].get_array() for ax in figure.axes if ax.images)
    assert alone[0, 0].max() == 0
    assert alone[15, 10].min() > 0.1
    assert np.median(before[:4]) > 0  # the noise of the sky is seen
    assert (after - before)[15, 10].max() > 0.05
    with Image.open(tmp_path / "g.png") as picture:
        assert min(picture.size) > 100
