"""The Triton renderer: PyTorch's numbers on a CUDA device, and what of that can be seen without one.

Without a device the kernel runs in Triton's interpreter, NumPy in float32, and is compiled ahead of time for one: so a mistake in a
formula, an index or a type shows. What only a device shows is the launch, and its own reciprocal roots and exponentials.
"""

import importlib.util
import logging
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from darklens.lensing import EPL, Sersic, Shear
from darklens.simulate import TabulatedPSF, preset, render
from darklens.simulate import rendering as module

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
SHAPE = (33, 46)  # neither square nor a multiple of what a program holds
CASES = ["model-i", "model-iii", "common-test", "subhalos", "perturber", "power-law"]
INTERPRETER = "--in-the-interpreter"


def tolerance(name):
    """Largest error in units of the peak: differences of logarithms cost haloes a digit in float32."""
    return 3e-5 if name == "subhalos" else 1e-5


def scene_of(name, n=4, seed=3):
    chosen = preset("model-iii" if name == "power-law" else name)
    scene = chosen.population.draw(n, seed)
    if name != "power-law":
        return scene, chosen.instrument
    rng = np.random.default_rng(0)

    def column(low, high):
        return torch.from_numpy(rng.uniform(low, high, n))

    lens = EPL(column(0.6, 0.9), column(1.6, 2.4), column(-0.3, 0.3), column(-0.3, 0.3), column(-0.1, 0.1), column(-0.1, 0.1))
    glow = Sersic(column(1, 2), column(0.3, 0.6), column(1, 4), column(-0.1, 0.1), column(-0.1, 0.1))
    return replace(scene, macro=(lens, Shear(column(-0.1, 0.1), column(-0.1, 0.1))), lens_light=(glow,)), chosen.instrument


def with_a_mass_on_a_pixel():
    scene, camera = scene_of("model-iii", 3)
    points = scene.substructure[0]
    zero = torch.zeros_like(points.center_x)
    return replace(scene, substructure=(replace(points, theta_E=zero + 0.1, center_x=zero, center_y=zero),)), camera


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("name", CASES)
def test_on_a_device_images_are_pytorchs(name, monkeypatch):
    scene, camera = scene_of(name, 12)
    fast = module.triton_renderer()(scene, camera, SHAPE, torch.float32, "cuda")
    assert torch.equal(render(scene, camera, SHAPE, device="cuda"), fast)  # `render` takes this path
    monkeypatch.setattr(module, "triton_renderer", lambda: None)
    slow = render(scene, camera, SHAPE, device="cuda")
    assert (fast - slow).abs().max() < tolerance(name) * slow.max()


@needs_triton
def test_in_the_interpreter_images_are_pytorchs():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}  # read when triton is imported: hence a process of its own
    command = [sys.executable, str(Path(__file__)), INTERPRETER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if "only 0-dimensional arrays can be converted to Python scalars" in done.stderr:
        pytest.skip("the interpreter of this triton does not work with this NumPy; a newer triton's does")
    assert done.returncode == 0, done.stderr


def compare_in_the_interpreter():
    from darklens.simulate import render_triton as fused

    fused.BLOCK = 4096  # an image's pixels in one program: the interpreter takes its time for each
    for name in CASES:
        scene, camera = scene_of(name)
        fast = fused.render_triton(scene, camera, SHAPE, torch.float32, "cpu")
        error = (fast - render(scene, camera, SHAPE, dtype=torch.float64)).abs().max() / fast.max()
        assert error < tolerance(name), f"{name}: {error}"
    fused.BLOCK, fused.CHUNK_PIXELS = 512, 1  # programs of other sizes, one system at a time: the same images
    assert torch.equal(fused.render_triton(scene, camera, SHAPE, torch.float32, "cpu"), fast)
    scene, camera = with_a_mass_on_a_pixel()
    assert torch.isfinite(fused.render_triton(scene, camera, SHAPE, torch.float32, "cpu")).all()
    assert fused.render_triton(scene, camera, SHAPE, torch.float64, "cpu") is None
    tabulated = replace(camera, psf=TabulatedPSF(np.ones((3, 3))))
    assert fused.render_triton(scene, tabulated, SHAPE, torch.float32, "cpu") is None


@needs_triton
def test_the_kernel_compiles_for_a_device(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    triton = pytest.importorskip("triton", minversion="3.3", reason="triton before 3.3 names the compiler's arguments differently")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from darklens.simulate.render_triton import BLOCK, _light

    integers = {"terms", "n_points", "n_tnfw", "n_cored"}
    numbers = {"middle_x", "middle_y", "scale"}
    arrays = {"light", "macro", "series", "points", "tnfw", "cored", "sources", "lights"}
    kinds = {**dict.fromkeys(integers, "*i32"), **dict.fromkeys(numbers, "fp32"), **dict.fromkeys(arrays, "*fp32")}
    signature = {name: "constexpr" if name == "BLOCK" else kinds.get(name, "i32") for name in _light.arg_names}
    source = ASTSource(fn=_light, signature=signature, constexprs={"BLOCK": BLOCK})
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": True}).asm["ptx"]
    assert ".target sm_90" in ptx
    assert "rsqrt.approx" in ptx  # masses: no division
    assert ".f64" not in ptx  # nothing became double precision by a constant


def test_without_triton_pytorch_renders_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "triton", None)
    module.triton_renderer.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, "darklens"):
            assert module.triton_renderer() is None
            assert module.triton_renderer() is None
    finally:
        module.triton_renderer.cache_clear()
    assert sum("rendered in PyTorch" in record.getMessage() for record in caplog.records) == 1


def test_on_cuda_render_asks_triton_first_unless_it_has_to_differentiate(monkeypatch):
    scene, camera = scene_of("model-iii", 2)
    asked, answer = [], torch.zeros(2, *SHAPE)
    monkeypatch.setattr(module, "triton_renderer", lambda: lambda *arguments: asked.append(arguments) or answer)
    assert render(scene, camera, SHAPE, device="cuda") is answer
    assert asked == [(scene, camera, SHAPE, torch.float32, "cuda")]
    tracked = replace(scene.macro[0], theta_E=scene.macro[0].theta_E.clone().requires_grad_())
    for changed, options in ((replace(scene, macro=(tracked, *scene.macro[1:])), {}), (scene, {"supersampling": 2})):
        with suppress(AssertionError, RuntimeError):  # PyTorch's, where there is no device
            render(changed, camera, SHAPE, device="cuda", **options)
    assert len(asked) == 1


if __name__ == "__main__" and INTERPRETER in sys.argv:
    compare_in_the_interpreter()
