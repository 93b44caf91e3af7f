import csv
import gzip
import io
import struct
import threading
import zipfile
import zlib

import numpy as np
import pytest
from astropy.io import fits

import darklens
from darklens.serve.frames import unframed


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def as_fits(image):
    content = io.BytesIO()
    fits.PrimaryHDU(image).writeto(content)
    return content.getvalue()


def as_npz(**arrays):
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def as_png(width, height, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_probabilities_are_those_of_the_library(client, lenses):
    answer = client.post("/api/predict", files=[("files", (f"{i}.npy", npy(image))) for i, image in enumerate(lenses)])
    expected = darklens.open_run("arcnet:common-test").predict(lenses)
    rows = answer.json()["predictions"]
    got = [[row["probabilities"][c] for c in ("no", "sphere", "vort")] for row in rows]
    np.testing.assert_allclose(got, expected, atol=2e-6)
    assert [row["predicted"] for row in rows] == [("no", "sphere", "vort")[k] for k in expected.argmax(1)]
    assert all(isinstance(row["unusual"], bool) and isinstance(row["set"], list) for row in rows)


@pytest.mark.parametrize("form", [npy, as_fits, lambda a: gzip.compress(as_fits(a)), lambda a: as_npz(image=a)])
def test_every_format_says_the_same(client, lenses, form):
    plain = client.post("/api/predict", content=npy(lenses[1, 0])).json()["predictions"][0]["probabilities"]
    found = client.post("/api/predict", content=form(lenses[1, 0])).json()["predictions"][0]["probabilities"]
    assert found == pytest.approx(plain, abs=1e-5)


def test_a_picture_is_taken_upright_and_said_to_be_one(client, lenses):
    levels = np.round(255 * lenses[1, 0]).astype(np.uint8)
    rows = b"".join(b"\x00" + row.tobytes() for row in levels[::-1])  # the first row of a PNG is its highest
    picture = client.post("/api/predict?maps=true", content=as_png(150, 150, rows))
    header, arrays = unframed(picture.content)
    np.testing.assert_array_equal(arrays["image/0"], levels)
    assert "no fluxes" in header["predictions"][0]["note"]


def test_maps_are_the_smooth_fit(client, lenses):
    header, arrays = unframed(client.post("/api/predict?maps=true", content=npy(lenses[0, 0])).content)
    np.testing.assert_array_equal(arrays["image/0"], lenses[0, 0])
    assert arrays["residual/0"].std() == pytest.approx(1, abs=0.1), "a smooth lens leaves noise"
    fit = header["predictions"][0]["fit"]
    assert fit["chi2"] == pytest.approx(float((arrays["residual/0"] ** 2).sum()) / (150**2 - len(fit["parameters"])), rel=1e-3)


def test_a_fit_has_errors_and_finds_what_was_simulated(client, lenses):
    table = darklens.simulate("common-test", 3, seed=5)
    found = client.post("/api/fit?preset=common-test", content=npy(lenses[0, 0])).json()["fits"][0]
    theta_E = found["parameters"]["theta_E"]
    assert abs(theta_E["value"] - table.column("theta_E")[0]) < 6 * theta_E["error"]
    refused = client.post("/api/fit", content=npy(lenses[0, 0, :90, :90]))
    assert refused.status_code == 400
    assert refused.json()["error"].endswith("give preset or instrument")
    wide = client.post("/api/fit?pixel_scale=0.05&psf_fwhm=900", content=npy(lenses[0, 0]))
    assert wide.status_code == 400
    assert wide.json()["error"] == 'PSF width 900" is above 3.75", half the image: give psf_fwhm in arcsec'


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 400, 400), "160,000 pixels in 1 image to fit"), ((8, 1, 150, 150), "180,000 pixels in 8 images to fit")],
)
def test_a_fit_of_too_many_pixels_is_refused_at_once_with_its_limit(client, shape, words):
    answer = client.post("/api/fit?pixel_scale=0.1&psf_fwhm=0.2", content=npy(np.zeros(shape, np.float32)))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{words}, the limits are 131,072 pixels and 8 images: send cutouts")


def test_a_batch_becomes_a_table(client, lenses):
    files = [("files", ("folder/a.npy", npy(lenses[0]))), ("files", ("=HYPERLINK(1).npy", npy(lenses[2])))]
    answer = client.post("/api/predict?format=csv", files=files)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in rows] == ["a.npy", "_HYPERLINK(1).npy"], "no folder, and nothing that a spreadsheet would run"
    assert set(rows[0]) == {"id", "source", "predicted", "no", "sphere", "vort", "set", "unusual", "unusual_because"}


def test_one_bad_file_does_not_spoil_the_others(client, lenses):
    files = [("files", ("good.npy", npy(lenses[0]))), ("files", ("bad.fits", b"junk"))]
    answer = client.post("/api/predict", files=files).json()
    assert [row["name"] for row in answer["predictions"]] == ["good.npy"]
    assert answer["noticed"] == [], "too few images to doubt anything"
    assert answer["refused"] == [
        {"name": "bad.fits", "error": "bad.fits is of no format that is read here: send FITS, .npy, .npz or PNG"}
    ]


def test_files_that_all_are_bad_get_a_sentence_each(client):
    files = [("files", ("small.npy", npy(np.zeros((4, 4))))), ("files", ("bad.fits", b"junk"))]
    answer = client.post("/api/predict", files=files)
    assert answer.status_code == 400
    told = answer.json()
    assert told["error"].endswith("(and 1 more that could not be used)")
    assert [one["name"] for one in told["refused"]] == ["small.npy", "bad.fits"]
    assert client.post("/api/explain", files=files).json()["refused"] == told["refused"]


def test_a_blank_image_is_answered_flagged_and_said_to_be_blank(client):
    (row,) = client.post("/api/predict", files={"files": ("b.npy", npy(np.zeros((150, 150))))}).json()["predictions"]
    assert row["unusual"]
    assert row["note"] == "all pixels are zero"
    assert client.post("/api/fit?preset=common-test", content=npy(np.zeros((150, 150)))).status_code == 200


def test_pixels_that_were_mended_are_told(client, lenses):
    image = lenses[1, 0].copy()
    image[3, 4:7] = np.nan
    (row,) = client.post("/api/predict", files={"files": ("b.npy", npy(image))}).json()["predictions"]
    assert row["note"] == "3 pixels that were not finite took the level of its band's frame"
    (fit,) = client.post("/api/fit?preset=common-test", content=npy(image)).json()["fits"]
    assert fit["note"] == row["note"]


def test_files_of_one_name_can_be_told_apart(client, lenses):
    files = [("files", (f"{folder}/lens.npy", npy(image))) for folder, image in zip("abc", lenses, strict=True)]
    rows = client.post("/api/predict", files=files).json()["predictions"]
    assert [row["name"] for row in rows] == ["lens.npy", "lens.npy (2)", "lens.npy (3)"]
    _, arrays = unframed(client.post("/api/explain?image=lens.npy (2)", files=files).content)
    np.testing.assert_array_equal(arrays["image/0"], lenses[1, 0])


def test_an_array_of_an_archive_is_chosen_by_name(client, lenses):
    content = as_npz(a=lenses[0], b=lenses[1])
    refused = client.post("/api/predict", content=content)
    assert refused.json()["error"].endswith("choose one of a, b by key")
    found = client.post("/api/predict?key=b", content=content).json()["predictions"][0]["probabilities"]
    assert found == client.post("/api/predict", content=npy(lenses[1])).json()["predictions"][0]["probabilities"]
    assert client.post("/api/predict?key=c", content=content).status_code == 400


def bomb():
    """An archive of 3 KiB that claims to hold 2 MiB and does."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", npy(np.zeros((512, 512))))
    return content.getvalue()


class Boom:
    def __reduce__(self):
        return print, ("executed",)


JUNK = {
    "nothing": b"",
    "words": b"hello",
    "half an array": b"\x93NUMPY\x01\x00",
    "half a picture": b"\x89PNG\r\n\x1a\nxx",
    "half a FITS file": b"SIMPLE  =                    T",
    "half an archive": b"PK\x03\x04zz",
    "half a gzip file": gzip.compress(b"SIMPLE" * 99)[:20],
    "gzip in name only": b"\x1f\x8bjunk",
    "a cube that is not there": npy(np.zeros(3)).replace(b"(3,)", b"(3,9999999)"),
    "an array of words": npy(np.array(["a", "b"])),
    "a program": npy(np.array([Boom()], dtype=object)),
    "another size": npy(np.zeros((4, 4))),
    "not a number": npy(np.full((150, 150), np.nan)),
    "too many pixels": npy(np.zeros((9, 400, 400), np.uint8)),
    "a picture that claims to be huge": as_png(60000, 60000, b""),
    "a FITS file that claims to be huge": as_fits(np.zeros((2, 2), np.float32)).replace(
        b"=                    2", b"=            200000000"
    ),
}


@pytest.mark.parametrize("endpoint", ["/api/predict", "/api/fit?preset=common-test"])
@pytest.mark.parametrize("kind", JUNK)
def test_junk_gets_one_sentence(client, endpoint, kind, capfd):
    if "fit" in endpoint and kind == "another size":
        pytest.skip("an image like any other here")
    answer = client.post(endpoint, content=JUNK[kind])
    assert 400 <= answer.status_code < 500, answer.text
    sentence = answer.json()["error"]
    assert sentence.count("\n") == 0
    assert "/tmp" not in sentence, "no path of the server"
    assert "executed" not in capfd.readouterr().out


def test_archives_are_measured_before_they_are_unpacked(client):
    from darklens.errors import InputError
    from darklens.serve import Limits
    from darklens.serve.uploads import images_in

    with pytest.raises(InputError, match="unpacks to 2 MiB, the limit is 1 MiB"):
        images_in("a.npz", bomb(), Limits(unpacked_bytes=1 << 20))
    with pytest.raises(InputError, match="unpacks to over 1 MiB"):
        images_in("a.gz", gzip.compress(bytes(2 << 20)), Limits(unpacked_bytes=1 << 20))


@pytest.mark.parametrize("query", ["model=nope", "hdu=../x", "bands=%00", "format=exe", "resize=maybe", f"model={'x' * 300}"])
def test_wrong_options_get_one_sentence(client, lenses, query):
    answer = client.post(f"/api/predict?{query}", content=npy(lenses[0]))
    assert 400 <= answer.status_code < 500
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain"])
def test_wrong_bodies_get_one_sentence(client, kind):
    answer = client.post("/api/predict", content=b'{"a": 1}', headers={"content-type": kind})
    assert 400 <= answer.status_code < 500
    assert set(answer.json()) == {"error"}


def test_requests_that_come_together_share_a_batch(client, lenses):
    client.post("/api/predict", content=npy(lenses[0]))  # loaded
    network = client.app.state.judges.get(None)
    sizes, judged = [], network._judged

    def watched(images):
        sizes.append(len(images))
        return judged(images)

    network._judged = watched
    answers = [None] * 8

    def ask(i):
        answers[i] = client.post("/api/predict", content=npy(lenses[i % 3])).json()["predictions"][0]["probabilities"]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    network._judged = judged
    assert sum(sizes) == 8
    assert len(sizes) < 8, f"batches of {sizes}"
    for i in range(3, 8):
        assert answers[i] == pytest.approx(answers[i % 3], abs=1e-5), "each got the answer to its own image"


def test_models_and_how_often_they_were_right(client):
    models = client.get("/api/models").json()
    assert models[0]["name"] == "arcnet:common-test"
    assert models[0]["classes"] == ["no", "sphere", "vort"]
    bins = client.get("/api/reliability").json()["classes"]["vort"]
    assert bins[-1]["low"] > 0.9, "what was called a vortex with nine in ten and more was one"
    assert bins[0]["high"] < 0.1


def test_another_machine_may_judge_and_what_it_meets_is_told(client, lenses):
    from darklens.errors import InputError
    from darklens.serve.answers import Busy
    from darklens.serve.judges import judged

    network = client.app.state.judges.get(None)
    here = client.post("/api/predict", content=npy(lenses[1, 0])).json()["predictions"][0]

    async def far(image):
        return judged(network.loaded(), [image])[0]

    async def wrong(image):
        raise InputError("this image cannot be judged: send another")

    async def full(image):
        raise Busy("all replicas have enough to do: come again in a second")

    try:
        network.elsewhere = far
        assert client.post("/api/predict", content=npy(lenses[1, 0])).json()["predictions"][0] == here
        network.elsewhere = wrong
        answer = client.post("/api/predict", content=npy(lenses[1, 0]))
        assert (answer.status_code, answer.json()["error"]) == (400, "this image cannot be judged: send another")
        network.elsewhere = full
        assert client.post("/api/predict", content=npy(lenses[1, 0])).status_code == 503
        network.elsewhere, network.away = far, network.limits.waiting
        assert client.post("/api/predict", content=npy(lenses[1, 0])).status_code == 503, "as many may wait as here"
    finally:
        network.elsewhere, network.away = None, 0
