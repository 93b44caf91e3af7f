"""Networks of a model hub: from a folder, from the cache, and from nothing but a name; never from the network."""

import json
import subprocess
import sys
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from darklens.errors import InputError
from darklens.models import build, count_parameters, first_convolution, for_trained, hub, settle
from darklens.models.backbone import DEVIATION, MEAN, Backbone, as_dict, configuration, grey_kernel
from darklens.models.stock import stock_config

transformers = pytest.importorskip("transformers")

RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
VIT = {"model_type": "vit", "image_size": 64, "patch_size": 16, "hidden_size": 24, "num_attention_heads": 2}
VIT |= {"num_hidden_layers": 2, "intermediate_size": 32}
LEVIT = {"model_type": "levit", "hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1]}
LEVIT |= {"image_size": 64}
PUBLISHED = {  # millions of parameters with 1000 classes, as their papers give them
    "microsoft/resnet-18": 11.69,
    "microsoft/resnet-50": 25.56,
    "facebook/convnext-tiny-224": 28.59,
    "facebook/convnextv2-atto-1k-224": 3.71,
    "microsoft/swin-tiny-patch4-window7-224": 28.29,
    "microsoft/swinv2-tiny-patch4-window8-256": 28.35,
    "google/vit-base-patch16-224": 86.57,
    "facebook/deit-small-patch16-224": 22.05,
    "microsoft/cvt-13": 20.00,
    "facebook/levit-192": 10.95 - 0.385,  # less the head that a teacher speaks to
    "apple/mobilevit-small": 5.58,
    "apple/mobilevitv2-1.0-imagenet1k-256": 4.90,
    "google/mobilenet_v2_1.0_224": 3.50,
    "google/efficientnet-b0": 5.29,
    "facebook/regnet-y-040": 20.65,
    "microsoft/focalnet-tiny": 28.43,
    "sail/poolformer_s12": 11.92,
    "OpenGVLab/pvt_v2_b2": 25.36,
    "MBZUAI/swiftformer-xs": 3.48,
}
SMALL = [
    "microsoft/resnet-18",
    "facebook/convnextv2-atto-1k-224",
    "facebook/deit-tiny-distilled-patch16-224",
    "facebook/levit-128S",
    "apple/mobilevit-xx-small",
    "google/efficientnet-b0",
    "facebook/regnet-y-002",
    "OpenGVLab/pvt_v2_b0",
]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No network, and an empty cache."""
    monkeypatch.setattr(hub, "_reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def published(config: dict, folder, labels: int = 10) -> torch.nn.Module:
    """A network whose weights and running statistics are nowhere at their defaults, saved as the hub has it."""
    torch.manual_seed(5)
    entries = dict(config)
    made = transformers.AutoConfig.for_model(entries.pop("model_type"), num_labels=labels, **entries)
    network = getattr(transformers, hub.classifier_class(made.model_type).__name__)(made)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
    network.save_pretrained(folder)
    return network.eval()


def in_cache(folder, cache, repo: str) -> None:
    """Lay a folder out as the hub's cache has it."""
    home = cache / f"models--{repo.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0123abc")
    (home / "snapshots").mkdir()
    folder.rename(home / "snapshots" / "0123abc")


def grey(n: int = 3, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    return torch.rand(n, 1, *size, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def test_grey_images_get_the_published_logits(tmp_path):
    network = published(RESNET, tmp_path / "net")
    model = build(f"hf:{tmp_path / 'net'}", classes=10).eval()
    expected = network(pixel_values=((grey() - MEAN) / DEVIATION).expand(-1, 3, -1, -1)).logits
    assert expected.std(0).min() > 1e-3
    assert torch.allclose(model(grey()), expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("bands", [1, 2, 3])
def test_the_head_is_replaced_and_the_trunk_kept(tmp_path, bands):
    network = published(RESNET, tmp_path / "net")
    model = build(f"hf:{tmp_path / 'net'}", bands=bands, classes=4).eval()
    images = grey()
    ours = model.trunk.network.resnet(images.expand(-1, bands, -1, -1)).pooler_output
    assert torch.allclose(ours, network.resnet(images.expand(-1, 3, -1, -1)).pooler_output, atol=1e-5)
    assert model(images.expand(-1, bands, -1, -1)).shape == (3, 4)
    assert first_convolution(model).in_channels == bands


@torch.no_grad()
def test_positions_are_interpolated(tmp_path):
    network = published(VIT, tmp_path / "net")
    same = build(f"hf:{tmp_path / 'net'}", classes=10).eval()
    colours = ((grey() - MEAN) / DEVIATION).expand(-1, 3, -1, -1)
    assert torch.allclose(same(grey()), network(pixel_values=colours).logits, atol=1e-5)
    larger = build(f"hf:{tmp_path / 'net'}", size=(96, 128)).eval()
    before = network.vit.embeddings.position_embeddings
    after = larger.trunk.network.vit.embeddings.position_embeddings
    assert after.shape == (1, 1 + 6 * 8, 24)
    assert torch.equal(after[:, 0], before[:, 0])
    assert torch.allclose(after[:, 1:].mean(1), before[:, 1:].mean(1), atol=0.02)  # a smooth map keeps its mean
    corners = after[0, 1:].unflatten(0, (6, 8))[[0, 0, -1, -1], [0, -1, 0, -1]]
    expected = before[0, 1:].unflatten(0, (4, 4))[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.nn.functional.cosine_similarity(corners, expected).min() > 0.98


def test_biases_by_distance_are_interpolated(tmp_path):
    network = published(LEVIT, tmp_path / "net")
    model = build(f"hf:{tmp_path / 'net'}", size=128)
    key = next(key for key in network.state_dict() if "attention_biases" in key)
    before, after = network.state_dict()[key], model.trunk.network.state_dict()[key]
    assert before.shape[1] == 4 * 4
    assert after.shape[1] == 8 * 8
    assert torch.allclose(after[:, 0], before[:, 0])  # of no distance


def test_cached_repository_is_found_without_a_network(tmp_path):
    network = published(RESNET, tmp_path / "net")
    in_cache(tmp_path / "net", tmp_path / "cache", "somebody/lens-net")
    options, note = settle("hf:somebody/lens-net", {})
    assert note is None
    assert options["weights"] == "pretrained"
    model = build("hf:somebody/lens-net", **options)
    assert torch.equal(model.trunk.network.state_dict()["resnet.encoder.stages.1.layers.0.layer.0.convolution.weight"],
                       network.state_dict()["resnet.encoder.stages.1.layers.0.layer.0.convolution.weight"])  # fmt: skip


def test_a_run_keeps_what_was_looked_up(tmp_path, monkeypatch):
    published(RESNET, tmp_path / "net")
    name = f"hf:{tmp_path / 'net'}"
    options, note = settle(name, {"weights": "auto"})
    assert note is None
    assert json.loads(json.dumps(options)) == options
    trained = build(name, **options)
    (tmp_path / "net").rename(tmp_path / "elsewhere")
    monkeypatch.setattr(hub, "_find", lambda *args, **kwargs: pytest.fail("looked for the repository again"))
    assert settle(name, options) == (options, None)
    rebuilt = build(name, **for_trained(options))
    rebuilt.load_state_dict(trained.state_dict())
    with torch.no_grad():
        assert torch.equal(rebuilt.eval()(grey()), trained.eval()(grey()))


def test_without_weights_auto_says_so_and_pretrained_refuses():
    with pytest.warns(UserWarning, match=r"no published weights of hf:microsoft/resnet-18.*random"):
        model = build("hf:microsoft/resnet-18")
    assert count_parameters(model) == 11_171_779
    options, note = settle("hf:microsoft/resnet-18", {})
    assert options["weights"] == "random"
    assert "HF_HOME" in note
    with pytest.raises(InputError, match=r"no published weights.*HF_HOME"):
        build("hf:microsoft/resnet-18", weights="pretrained")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build("hf:microsoft/resnet-18", weights="random")


@pytest.mark.parametrize("repo", PUBLISHED)
def test_stock_families_have_their_published_size(repo):
    config = configuration(stock_config(repo) | {"num_labels": 1000})
    with torch.device("meta"):
        network = hub.classifier_class(config.model_type)(config)
    assert count_parameters(network) / 1e6 == pytest.approx(PUBLISHED[repo], rel=0.006)
    assert as_dict(configuration(as_dict(config))) == as_dict(config)


@pytest.mark.parametrize("repo", SMALL)
@pytest.mark.parametrize("size", [64, (50, 66)])
def test_stock_families_take_lens_images(repo, size):
    model = build(f"hf:{repo}", size=size, weights="random")
    images = grey(4, model.trunk.size)
    logits = model(images)
    logits.square().sum().backward()
    assert all(value.grad is not None for value in model.parameters())
    assert logits.std(0).min() > 1e-4  # the images have not vanished on their way


@pytest.mark.parametrize(
    ("repo", "size", "expected"),
    [
        ("microsoft/resnet-18", (50, 66), (50, 66)),
        ("facebook/deit-tiny-patch16-224", (150, 150), (160, 160)),
        ("facebook/deit-tiny-patch16-224", (50, 66), (64, 80)),
        ("facebook/levit-128S", (50, 66), (96, 96)),  # squares only
    ],
)
def test_images_are_resized_only_where_they_must_be(repo, size, expected):
    assert Backbone(1, 3, size, stock_config(repo)).network_size == expected


def test_image_size_is_the_users_choice():
    model = build("hf:facebook/deit-tiny-patch16-224", size=(50, 66), weights="random", image_size=96)
    assert model.trunk.network_size == (96, 96)
    assert model(grey(2, (50, 66))).shape == (2, 3)


def test_seed_decides_the_random_weights():
    one, same, other = (build("hf:facebook/regnet-y-002", weights="random", seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("hf:nobody/nothing", {}, "no configuration of hf:nobody/nothing.*HF_HOME"),
        ("hf:/no/such/folder", {}, "names no folder"),
        ("hf:resnet-18", {}, "no repository owner/name"),
        ("hf:microsoft/resnet-18", {"weights": "pretraind"}, "did you mean 'pretrained'"),
        ("hf:microsoft/resnet-18", {"weigths": "random"}, "did you mean 'weights'"),
        ("hf:microsoft/resnet-18", {"repo": "other/one"}, "unknown option"),
        ("hf:microsoft/resnet-18", {"weights": "random", "image_size": 16}, "image_size 16"),
        ("hf:microsoft/resnet-18", {"weights": "random", "size": 16}, "16x16 pixels are too small"),
        ("hf:any/thing", {"weights": "random", "config": {"model_type": "bert"}}, "no image classifiers"),
        ("hf:any/thing", {"weights": "random", "config": {"depths": [1]}}, "model_type"),
        ("hf:any/thing", {"weights": "random", "config": RESNET | {"depths": "two"}}, "configuration of a resnet"),
        ("swin", {"width": 47}, "takes no images of 64x64"),
    ],
)
def test_wrong_requests_are_refused(name, options, says):
    with pytest.raises(InputError, match=says):
        build(name, **options)


def test_weights_of_another_network_are_refused(tmp_path):
    published(RESNET, tmp_path / "net")
    path = tmp_path / "net" / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "stages.1" not in k}, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack \d+ tensors of its resnet, first resnet.encoder.stages.1"):
        build(f"hf:{tmp_path / 'net'}")
    path.write_bytes(b"nothing of use")
    with pytest.raises(InputError, match="cannot be read"):
        build(f"hf:{tmp_path / 'net'}")


def test_pickled_weights_are_no_weights(tmp_path):
    network = published(RESNET, tmp_path / "net")
    (tmp_path / "net" / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "net" / "pytorch_model.bin")
    with pytest.raises(InputError, match="no published weights"):
        build(f"hf:{tmp_path / 'net'}", weights="pretrained")


def test_grey_kernel_keeps_the_response_to_grey():
    kernel, images = torch.randn(4, 3, 5, 5, dtype=torch.float64), torch.rand(2, 1, 9, 9, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(images.expand(-1, 3, -1, -1), kernel)
    for bands in (1, 2, 3, 5):
        given = torch.nn.functional.conv2d(images.expand(-1, bands, -1, -1), grey_kernel(kernel, bands))
        assert torch.allclose(given, expected)


@torch.no_grad()
@pytest.mark.parametrize("bands", [1, 3])
def test_resnet18_starts_from_published_weights(tmp_path, bands):
    network = published(stock_config("microsoft/resnet-18"), tmp_path / "net")
    model = build("resnet18", bands=bands, weights=f"hf:{tmp_path / 'net'}", seed=3).eval()
    features = network.resnet(grey().expand(-1, 3, -1, -1)).pooler_output.flatten(1)
    assert torch.allclose(model.features(grey().expand(-1, bands, -1, -1)), features, rtol=1e-5, atol=1e-5)
    assert torch.equal(model.head.weight, build("resnet18", bands=bands, seed=3).head.weight)
    in_cache(tmp_path / "net", tmp_path / "cache", "microsoft/resnet-18")
    cached = build("resnet18", bands=bands, weights="imagenet").eval()
    assert torch.allclose(cached.features(grey().expand(-1, bands, -1, -1)), features, rtol=1e-5, atol=1e-5)


def test_resnet18_refuses_weights_that_cannot_be_had(tmp_path):
    published(RESNET, tmp_path / "net")
    for options, says in (
        ({"weights": "imagenet"}, "hf:microsoft/resnet-18 could not be had here.*HF_HOME"),
        ({"weights": "imagnet"}, "did you mean 'imagenet'"),
        ({"weights": f"hf:{tmp_path / 'net'}"}, "no ResNet-18"),
        ({"weights": "imagenet", "stem": "fine"}, "belong to the standard stem"),
    ):
        with pytest.raises(InputError, match=says):
            build("resnet18", **options)
    assert for_trained({"weights": "imagenet", "stem": "standard"}) == {"weights": "random", "stem": "standard"}


def test_transformers_is_loaded_only_where_it_is_needed():
    code = """
import sys; from darklens.models import build, summaries; build("resnet18"); summaries(); assert "transformers" not in sys.modules
sys.modules["transformers"] = None
try: build("swin")
except Exception as error: print(type(error).__name__, error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("InputError")
    assert 'pip install "darklens[zoo]"' in said
