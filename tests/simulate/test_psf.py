import logging

import numpy as np
import pytest
import torch
from astropy.io import fits

from darklens.errors import InputError
from darklens.simulate import GaussianPSF, TabulatedPSF, configured, preset, render


def gaussian(n, sigma, centre=None):
    offset = np.arange(n) - ((n - 1) / 2 if centre is None else centre)
    profile = np.exp(-0.5 * (offset / sigma) ** 2)
    kernel = np.outer(profile, profile)
    return kernel / kernel.sum()


def width(kernel):
    y = np.arange(len(kernel)) - len(kernel) // 2
    profile = kernel.sum(1)
    return np.sqrt(profile @ y**2 - (profile @ y) ** 2), profile @ y


@pytest.mark.parametrize("write", ["npy", "fits"])
def test_a_file_at_the_instruments_scale_is_taken_as_it_is(tmp_path, write, caplog):
    path, kernel = tmp_path / f"psf.{write}", gaussian(21, 2.0)
    np.save(path, kernel) if write == "npy" else fits.writeto(path, kernel)
    psf = TabulatedPSF.from_file(path)
    assert np.allclose(psf.on_pixels(0.05), kernel, atol=1e-8)
    assert psf.origin.startswith(path.name)
    assert "sha256:" in psf.origin
    assert not caplog.records


def test_a_finer_kernel_is_integrated_onto_the_detectors_pixels(tmp_path):
    np.save(tmp_path / "psf.npy", gaussian(81, 8.0))
    psf = TabulatedPSF.from_file(tmp_path / "psf.npy", pixel_scale=0.02)
    coarse = psf.on_pixels(0.1)
    assert coarse.shape == (17, 17)
    assert coarse.sum() == pytest.approx(1)
    spread, centre = width(coarse)
    assert centre == pytest.approx(0, abs=1e-9)
    # the variance of a flat pixel is 1/12 of its square; an integer ratio splits no fine pixel but at the middle of 5
    assert spread * 0.1 == pytest.approx(np.sqrt((8 * 0.02) ** 2 + (0.1**2 - 0.02**2) / 12), rel=2e-3)
    assert coarse[8, 8] == pytest.approx(gaussian(81, 8.0)[38:43, 38:43].sum())


@pytest.mark.parametrize("ratio", [1.3, 2.0, 3.7])
def test_any_ratio_keeps_flux_and_centre(ratio):
    kernel = np.random.default_rng(1).random((25, 31))
    psf = TabulatedPSF(kernel, pixel_scale=0.05)
    coarse = psf.on_pixels(0.05 * ratio)
    assert coarse.shape[0] % 2 == coarse.shape[1] % 2 == 1
    y, x = (np.arange(n) - n // 2 for n in coarse.shape)
    fine_y, fine_x = (np.arange(n) - n // 2 for n in kernel.shape)
    assert (coarse.sum(1) @ y) * ratio == pytest.approx(psf.kernel.sum(1) @ fine_y, abs=0.15 * ratio)
    assert (coarse.sum(0) @ x) * ratio == pytest.approx(psf.kernel.sum(0) @ fine_x, abs=0.15 * ratio)


def test_a_tabulated_gaussian_renders_like_the_gaussian():
    chosen = preset("model-iii")
    scene = chosen.population.draw(2, seed=4)
    psf = chosen.instrument.psf
    kernel = gaussian(2 * psf.margin(0.08) + 1, psf.sigma / 0.08)
    same = render(scene, chosen.with_psf(TabulatedPSF(kernel)).instrument, dtype=torch.float64)
    assert torch.allclose(same, render(scene, chosen.instrument, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_an_image_larger_than_the_psf_and_a_psf_larger_than_the_image():
    chosen = preset("model-iii")
    scene = chosen.population.draw(1, seed=4)
    for n in (3, 41):
        instrument = chosen.with_psf(TabulatedPSF(gaussian(n, 0.5))).instrument
        small = render(scene, instrument, (16, 20), dtype=torch.float64)
        large = render(scene, instrument, (64, 64), dtype=torch.float64)
        assert torch.allclose(small, large[:, 24:40, 22:42], rtol=1e-9, atol=1e-10)


def test_a_sum_that_is_not_one_is_divided_out_and_said(tmp_path, caplog):
    np.save(tmp_path / "psf.npy", 7 * gaussian(21, 2.0))
    with caplog.at_level(logging.WARNING, "darklens"):
        psf = TabulatedPSF.from_file(tmp_path / "psf.npy")
    assert psf.kernel.sum() == pytest.approx(1)
    assert [r.getMessage() for r in caplog.records] == ["PSF in psf.npy has sum 7 and was divided by it"]


@pytest.mark.parametrize("centre", [9, 10])
def test_an_even_kernel_centred_on_a_pixel_is_padded_and_said(tmp_path, caplog, centre):
    np.save(tmp_path / "psf.npy", gaussian(20, 1.5, centre))
    with caplog.at_level(logging.WARNING, "darklens"):
        psf = TabulatedPSF.from_file(tmp_path / "psf.npy")
    assert psf.kernel.shape == (21, 21)
    assert np.unravel_index(psf.kernel.argmax(), (21, 21)) == (10, 10)
    (record,) = caplog.records
    assert "even sides (20x20)" in record.getMessage()


def bad(name):
    kernel = gaussian(21, 2.0)
    if name == "nan":
        kernel[3, 3] = np.nan
    return {
        "nan": kernel,
        "negative": -kernel,
        "zero": 0 * kernel,
        "stack": np.stack([kernel] * 30),
        "between": gaussian(20, 2.0),
        "off": gaussian(20, 1.0, 3),
        "huge": np.ones((1027, 3)),
    }[name]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nan", "finite"),
        ("negative", "must be positive"),
        ("zero", "must be positive"),
        ("stack", "30 planes"),
        ("between", "between them"),
        ("off", "off its middle"),
        ("huge", "limit is 1025"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path, name, says):
    np.save(tmp_path / "psf.npy", bad(name))
    with pytest.raises(InputError, match=says) as caught:
        TabulatedPSF.from_file(tmp_path / "psf.npy")
    assert "\n" not in str(caught.value)


def test_other_bad_input(tmp_path):
    with pytest.raises(InputError):
        configured("model-iii-noisy", psf=tmp_path / "none.fits")
    with pytest.raises(InputError, match="scale must be positive"):
        TabulatedPSF(np.ones((3, 3)), pixel_scale=-1.0)


@pytest.mark.parametrize(
    ("file", "hdu", "fine", "detector", "fwhm"),
    [
        ("psfs/psf_101.fits", None, None, 0.05, 0.126),
        ("psfs/psf_wfc3_f160w.npy", None, 0.0325, 0.08, 0.20),
        ("lenses/tdlmc-rung0/oversampled_PSF.fits", None, None, 0.13, 0.15),
        ("lenses/jwst-cosmos-web-ring/F277W/psf.fits", None, None, 0.06, 0.12),
        ("lenses/euclid-q1/102018665_NEG570040238507752998.fits", "VIS_PSF", None, 0.1, 0.11),
    ],
)
def test_real_psfs(shared_data, file, hdu, fine, detector, fwhm):
    psf = TabulatedPSF.from_file(shared_data / file, hdu=hdu, pixel_scale=fine)
    kernel = psf.on_pixels(detector)
    assert kernel.sum() == pytest.approx(1)
    y, x = (n // 2 for n in kernel.shape)
    assert max(abs(a - b) for a, b in zip(np.unravel_index(kernel.argmax(), kernel.shape), (y, x), strict=True)) == 0
    area = (kernel > kernel.max() / 2).sum() * detector**2
    assert 2 * np.sqrt(area / np.pi) == pytest.approx(fwhm, abs=0.6 * detector)


def test_the_gaussian_reaches_further_on_finer_pixels():
    assert GaussianPSF(0.2).margin(0.05) > GaussianPSF(0.2).margin(0.1)


def test_a_kernel_off_its_middle_is_refused(tmp_path):
    y, x = np.indices((21, 21)) - 10
    kernel = np.exp(-0.5 * (x**2 + y**2) / 1.5**2)
    np.save(tmp_path / "psf.npy", np.roll(kernel, 1, axis=1))
    TabulatedPSF.from_file(tmp_path / "psf.npy")
    np.save(tmp_path / "psf.npy", np.roll(kernel, (3, 4), axis=(0, 1)))
    with pytest.raises(InputError, match=r"5\.0 pixels off its middle \(limit 1\.1\)"):
        TabulatedPSF.from_file(tmp_path / "psf.npy")
