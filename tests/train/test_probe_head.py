import numpy as np
import pytest
import torch

from darklens.errors import InputError
from darklens.evaluate.vectors import linear_probe
from darklens.models import build
from darklens.train.answers import softmax
from darklens.train.config import Preprocess
from darklens.train.embedder import embed
from darklens.train.image_set import ImageSet
from darklens.train.probe_head import begin_with_probe

SETTINGS = Preprocess(normalise="none")


def rings(n, classes):
    """Rings 32x32 whose radius is their class, over noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    y, x = np.mgrid[:32, :32] - 15.5
    light = np.exp(-((np.hypot(x, y) - 5 - 3 * labels[:, None, None]) ** 2) / 8)
    images = (3 * light + rng.normal(size=(n, 32, 32)))[:, None].astype(np.float32)
    return ImageSet(images, labels, np.arange(n).astype(object), tuple("abc"[:classes]))


@pytest.mark.parametrize(("classes", "outputs"), [(3, 3), (2, 2), (2, 1)])
def test_the_network_begins_with_what_a_linear_layer_can_tell(classes, outputs):
    images = rings(60, classes)
    model = build("encoder", classes=outputs, size=32, encoder="denoise-arc", weights="random", probe=True, seed=1)
    begin_with_probe(model, images, SETTINGS)
    vectors = embed(model.encoder, images.inputs, len(images), SETTINGS, "cpu")
    wanted = linear_probe(vectors, images.labels, vectors, classes)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(images.images)).double().numpy()
    found = softmax(logits) if outputs > 1 else np.concatenate([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], 1)
    assert np.allclose(found, wanted, atol=1e-4)
    assert (found.argmax(1) == images.labels).mean() > 0.9
    assert all(p.requires_grad for p in model.parameters())  # and is tuned from there


def test_a_class_without_images_is_named():
    model = build("encoder", classes=3, size=32, encoder="denoise-arc", weights="random", probe=True)
    with pytest.raises(InputError, match="no training image is of class 'c'"):
        begin_with_probe(model, ImageSet(*(getattr(rings(20, 2), k) for k in ("images", "labels", "ids")), tuple("abc")), SETTINGS)
