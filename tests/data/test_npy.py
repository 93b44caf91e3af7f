import io
import os
import struct
import zipfile

import numpy as np
import pytest

from darklens.data import load, read
from darklens.data.npy import probe_npy, probe_npz
from darklens.data.options import Options
from darklens.errors import InputError


def test_the_three_layouts_give_the_same_record(save_tree, object_image, rng):
    image = rng.normal(size=(6, 8))
    root = save_tree({"plain.npy": image, "object.npy": object_image(image, 3.5e-24), "bands.npy": image[None]})
    found = {r.id: r for r in read(root)}
    assert len({r.content_hash for r in found.values()}) == 1
    assert found["plain"].image.shape == (1, 6, 8)
    assert found["plain"].dtype == "float64"
    assert found["plain"].metadata["range"] == (np.float32(image.min()), np.float32(image.max()))
    assert found["object"].truth == {"m_axion": 3.5e-24, "log10_m_axion": pytest.approx(-23.4559319557)}
    assert found["plain"].truth == {}


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "<f2", "<i8", ">i4", "<u2", "i1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_number_type_becomes_native_float32(save_tree, rng, dtype, order):
    image = np.asarray(rng.integers(0, 2, (3, 6, 8)), dtype=dtype, order=order)
    (record,) = read(save_tree({"x.npy": image}) / "x.npy")
    assert record.image.dtype == np.dtype("=f4")
    assert record.image.flags.c_contiguous
    np.testing.assert_array_equal(record.image, image)
    assert record.dtype == np.dtype(dtype).name


@pytest.mark.parametrize(
    ("shape", "layout", "expected", "count"),
    [
        ((6, 8), None, (1, 6, 8), 1),
        ((3, 6, 8), None, (3, 6, 8), 1),
        ((3, 6, 8), "stack", (1, 6, 8), 3),
        ((12, 6, 8), None, (1, 6, 8), 12),
        ((12, 6, 8), "bands", (12, 6, 8), 1),
        ((12, 14, 3), None, (3, 12, 14), 1),
        ((5, 2, 6, 8), None, (2, 6, 8), 5),
        ((6, 8, 2), "channels-last", (2, 6, 8), 1),
    ],
)
def test_axes(save_tree, shape, layout, expected, count):
    array = np.arange(np.prod(shape), dtype=float).reshape(shape)
    path = save_tree({"x.npy": array}) / "x.npy"
    found = list(read(path, layout=layout))
    assert [r.image.shape for r in found] == [expected] * count
    assert len({r.id for r in found}) == count
    probed = probe_npy(path, Options(layout=layout))
    assert (probed.shape, probed.count) == (expected, count)
    together = np.stack([r.image for r in found])
    assert together.size == array.size
    if expected[0] == shape[-1]:
        np.testing.assert_array_equal(found[0].image[1], array[..., 1])
    else:
        np.testing.assert_array_equal(together.ravel(), array.ravel())


def damaged(tmp_path, change):
    buffer = io.BytesIO()
    np.save(buffer, np.ones((4, 4)))
    path = tmp_path / "x.npy"
    path.write_bytes(change(buffer.getvalue()))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b"", "is empty, truncated"),
        (lambda b: b[:4], "is empty, truncated"),
        (lambda b: b[:60], "is empty, truncated"),
        (lambda b: b[:-1], "holds 127 of 128 bytes"),
        (lambda b: b + b"x", "holds 129 of 128 bytes"),
        (lambda b: b"hello" + b, "no .npy file"),
        (lambda b: b.replace(b"(4, 4)", b"(9**9"), "no .npy file"),
        (
            lambda b: b.replace(b"(4, 4), }" + b" " * 20, b"(40000000000, 4000000), }    "),
            "of 1280000000000000000 bytes",
        ),
        (lambda b: b.replace(b"'<f8'", b"'|O' "), "damaged pickle"),
        (lambda b: b.replace(b"'<f8'", b"'<U2'"), "truncated or damaged|holds <U2|holds str"),
        (lambda b: b[:6] + b"\x03\x00" + struct.pack("<I", len(b) - 10) + b[10:], "version"),
    ],
)
def test_damage_is_one_sentence(tmp_path, change, words):
    path = damaged(tmp_path, change)
    with pytest.raises(InputError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones(5), "1 axes"),
        (np.ones(()), "0 axes"),
        (np.ones((1, 1, 2, 3, 4)), "5 axes"),
        (np.ones((0, 5)), "no pixel"),
        (np.ones((4, 4), complex), "complex128"),
        (np.array([["a", "b"], ["c", "d"]]), "real numbers"),
        (np.full((4, 4), np.nan), "16 of 16 pixels that are not finite"),
        (np.array([[np.nan, np.inf], [3, -np.inf]]), "3 of 4 pixels that are not finite: over 50% of a band"),
        (np.full((2, 2), 1e300), r"values up to 1e\+300"),
        (np.zeros((3, 3), [("a", "f4"), ("b", "f4")]), "real numbers"),
    ],
)
def test_what_is_no_image_is_one_sentence(save_tree, array, words):
    with pytest.raises(InputError, match=words):
        load(save_tree({"x.npy": array}) / "x.npy")


def test_pixels_that_are_not_finite_can_be_filled(save_tree):
    (record,) = read(save_tree({"x.npy": np.array([[1, np.nan], [-np.inf, 4]])}) / "x.npy", fill=0)
    assert record.image.tolist() == [[[1, 0], [0, 4]]]
    assert record.metadata["filled"] == 2


def test_by_default_they_get_the_level_of_the_frame_of_their_own_band(save_tree):
    image = np.zeros((2, 20, 20))
    image[:, :2], image[:, -2:], image[:, :, :2], image[:, :, -2:] = (7, 7, 7, 7)  # a frame of a tenth of the side
    image[1] += 1
    image[:, 9, 9] = np.nan
    image[0, 0, 0] = np.nan
    (record,) = read(save_tree({"x.npy": image}) / "x.npy")
    assert (record.image[0, 9, 9], record.image[0, 0, 0], record.image[1, 9, 9]) == (7, 7, 8)
    assert record.metadata["filled"] == 3
    assert (record.image[:, 8, 8] == [0, 1]).all()


def test_a_frame_that_is_missing_is_stood_for_by_the_band(save_tree):
    image = np.full((10, 10), np.nan)
    image[1:9, 1:9] = 3
    (record,) = read(save_tree({"x.npy": image}) / "x.npy")
    assert record.image[0, 0, 0] == 3


@pytest.mark.parametrize(("value", "kind"), [(1e37, np.float32), (-2e16, np.float64), (1e300, np.float64), (2**63 - 1, np.int64)])
def test_values_that_cannot_be_squared_are_refused_unless_they_mark_missing_pixels(save_tree, value, kind):
    plane = np.ones((6, 6), kind)
    plane[2, 3] = value
    path = save_tree({"a.npy": plane}) / "a.npy"
    with pytest.raises(InputError, match=rf"a.npy has values up to {abs(value):.2g}".replace("+", r"\+")):
        next(read(path))
    record = next(read(path, mask=value))
    assert record.metadata["filled"] == 1
    assert record.image.max() == 1


def test_a_map_of_the_noise_may_say_that_a_pixel_tells_nothing(save_tree):
    plane = np.array([[1, 1e30], [2, 3]])
    image = next(read(save_tree({"noise.npy": plane}) / "noise.npy", largest=np.inf)).image
    np.testing.assert_array_equal(image[0], plane.astype(np.float32))


def test_an_unknown_filling_is_refused(save_tree):
    with pytest.raises(InputError, match=r"unknown fill 'mean'.*border, refuse, a number"):
        load(save_tree({"x.npy": np.ones((4, 4))}) / "x.npy", fill="mean")


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ((np.ones((4, 4)), np.ones((4, 4))), "2 images and 0 numbers"),
        ((1.0, 2.0), "0 images and 2 numbers"),
        ((np.ones((4, 4)), "cdm"), "type str"),
        ((np.ones((4, 4)), {"m": 1}), "EMPTY_DICT"),
    ],
)
def test_other_object_arrays_are_refused(save_tree, items, words):
    array = np.empty(2, dtype=object)
    array[:] = items
    with pytest.raises(InputError, match=words):
        load(save_tree({"x.npy": array}) / "x.npy")


def npz(tmp_path, **arrays):
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    return tmp_path / "x.npz"


def test_npz_takes_the_image(tmp_path, object_image, rng):
    image, other = rng.normal(size=(6, 8)), rng.normal(size=(6, 8))
    for path in (npz(tmp_path, noise_map=other, image=image), npz(tmp_path, only=image, exposure=np.ones(3))):
        (record,) = read(path)
        np.testing.assert_array_equal(record.image[0], image.astype(np.float32))
    (record,) = read(npz(tmp_path, a=other, b=image), key="b")
    np.testing.assert_array_equal(record.image[0], image.astype(np.float32))
    (record,) = read(npz(tmp_path, image=object_image(image, 1e-22)))
    assert record.truth["log10_m_axion"] == pytest.approx(-22)
    assert probe_npz(tmp_path / "x.npz", Options()).truth == ("m_axion", "log10_m_axion")


@pytest.mark.parametrize(
    ("arrays", "key", "words"),
    [
        ({"a": np.ones((4, 4)), "b": np.ones((4, 4))}, None, "choose one of a, b by --key"),
        ({"a": np.ones((4, 4))}, "c", "no array 'c': choose one of a"),
        ({"a": np.ones(4)}, None, "choose one of a by --key"),
        ({"a": np.ones(4)}, "a", "1 axes"),
        ({"image": np.full((2, 2), np.nan)}, None, r"x.npz has 4 of 4 pixels"),
    ],
)
def test_npz_asks_where_it_cannot_tell(tmp_path, arrays, key, words):
    with pytest.raises(InputError, match=words):
        list(read(npz(tmp_path, **arrays), key=key))


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_truncated_npz_is_one_sentence(tmp_path, rng, keep):
    path = npz(tmp_path, image=rng.normal(size=(20, 20)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"x.npz is a truncated or damaged .npz file"):
        load(path)


def test_npz_that_lies_about_its_content(tmp_path, rng):
    path = npz(tmp_path, image=rng.normal(size=(20, 20)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="truncated"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    with pytest.raises(InputError, match="holds no array"):
        load(path)


def test_a_stack_larger_than_memory_is_mapped(tmp_path):
    path = tmp_path / "stack.npy"
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 24, 64, 64)}
        np.lib.format.write_array_header_1_0(file, header)
        os.truncate(path, file.tell() + 4 * 64 * 64 * (1 << 24))  # 256 GiB of holes
    records = read(path)
    assert [next(records).id for _ in range(2)] == ["stack[00000000]", "stack[00000001]"]
    records.close()
