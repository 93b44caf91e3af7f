"""Hostile pickles, real ones: each would do its deed under `numpy.load(allow_pickle=True)`."""

import os
import pickle
import struct
import subprocess
import tracemalloc

import numpy as np
import pytest

from darklens.data import load, read
from darklens.data.pickled import read_object_array
from darklens.errors import InputError

HEADER = "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"


class Call:
    """Pickles into a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def npy(path, payload: bytes):
    """Write a `.npy` file of two objects whose pickle is `payload`."""
    header = HEADER.ljust(128 - 11).encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload)
    return path


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"


def dtype(kind: str, order: str = "<") -> bytes:
    flags = b"K\x3f" if kind.startswith("O") else b"K\x00"
    state = b"(K\x03" + text(order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + flags + b"tb"
    return b"cnumpy\ndtype\n(" + text(kind) + b"\x89\x88tR" + state


def array(shape: bytes, kind: str, data: bytes, order: str = "<") -> bytes:
    """Pickle an array by hand, so that its parts need not agree."""
    return RECONSTRUCT + b"(K\x01" + shape + dtype(kind, order) + b"\x89" + data + b"tb"


def objects(*items: bytes) -> bytes:
    """Pickle an object array of two items by hand."""
    return b"\x80\x04" + array(b"K\x02\x85", "O8", b"](" + b"".join(items) + b"e", "|") + b"."


def scalar(kind: str, data: bytes) -> bytes:
    return b"cnumpy.core.multiarray\nscalar\n(" + dtype(kind) + data + b"tR"


IMAGE = array(b"K\x02K\x02\x86", "f8", b"C\x20" + np.arange(4.0).tobytes())
MASS = b"G" + struct.pack(">d", 1e-23)
HUGE = b"\x8a\x08" + (2**40).to_bytes(8, "little")


def crafted() -> dict[str, tuple[bytes, str]]:
    """Return payloads that `pickle.dumps` would not write, and the word by which each is refused."""
    laughs = b"(K\x01K\x02tq\x00" + b"".join(b"0(h%ch%ctq%c" % (i, i, i + 1) for i in range(60))
    return {
        "eval": (b"\x80\x04" + stack_global("builtins", "eval") + b"(" + text("1+1") + b"tR.", "builtins.eval"),
        "dotted": (b"\x80\x04" + stack_global("numpy", "ndarray.tofile") + b".", "numpy.ndarray.tofile"),
        "numpy load": (b"\x80\x04cnumpy\nload\n.", "numpy.load"),
        "getattr": (b"cbuiltins\ngetattr\n(cnumpy\nndarray\n" + text("tofile") + b"tR.", "builtins.getattr"),
        "instance": (b"(S'true'\nios\nsystem\n.", "STRING|INST"),
        "old instance": (b"(cos\nsystem\no.", "OBJ"),
        "new object": (b"\x80\x02cnumpy\nndarray\n)\x81.", "NEWOBJ"),
        "extension": (b"\x80\x02\x82\x01.", "EXT1"),
        "persistent id": (b"Pname\n.", "PERSID"),
        "dictionary": (b"}.", "EMPTY_DICT"),
        "memo bomb": (b"\x80\x04]r\xf0\xff\xff\xff.", "memo of 4294967280"),
        "laughing tuples": (b"\x80\x04" + laughs + b"h\x3c\x85R.", "damaged|no object array"),
        "length bomb": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "damaged"),
        "number bomb": (b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"x.", "damaged"),
        "object scalar": (objects(IMAGE, scalar("O8", b"C\x08" + b"\x41" * 8)), "something else than bytes"),
        "record scalar": (objects(IMAGE, scalar("V8", b"C\x08" + b"\x41" * 8)), "type 'V8'"),
        "pointers as objects": (objects(array(b"K\x01\x85", "O8", b"C\x08" + b"\x41" * 8), MASS), "not there"),
        "huge shape": (objects(array(HUGE + HUGE + b"\x86", "f8", b"C\x08" + b"\x00" * 8), MASS), "1208925819614629"),
        "negative shape": (
            objects(array(b"J\xff\xff\xff\xff\x85", "f8", b"C\x08" + b"\x00" * 8), MASS),
            "impossible shape",
        ),
        "shape of floats": (objects(array(MASS + b"\x85", "f8", b"C\x08" + b"\x00" * 8), MASS), "impossible shape"),
        "wrong length": (objects(array(b"K\x02\x85", "f8", b"C\x08" + b"\x00" * 8), MASS), "2 numbers where 1"),
        "change of a function": (
            b"cnumpy.core.multiarray\nscalar\n(NX\x01\x00\x00\x00af\x86tb.",
            "damaged|change of a",
        ),
        "changed stand-in": (b"cnumpy\ndtype\nN" + text("x") + b"\x86b.", "change of a function"),
        "decompression": (b"c_codecs\nencode\n(" + text("x") + text("bz2") + b"tR.", "other than latin1"),
        "nested objects": (objects(array(b"K\x01\x85", "O8", b"](K\x01e", "|"), MASS), "inside an object array"),
        "text item": (objects(IMAGE, text("hello")), "type str"),
        "no array": (b"\x80\x04]K\x01a.", "no object array"),
        "nothing": (b"", "damaged"),
        "half": (pickle.dumps(np.array([np.zeros((8, 8)), 1.0], dtype=object))[:-200], "damaged"),
        "deep": (b"\x80\x04" + b"]" * 20_000 + b"a" * 19_999 + b".", "no object array"),
        "long": (b"\x80\x04" + b"N0" * 40_000 + b"N.", "more than 65536 operations"),
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", crafted())
def test_hostile_pickle_is_refused_by_name(tmp_path, name):
    payload, words = crafted()[name]
    path = npy(tmp_path / "x.npy", payload)
    tracemalloc.start()
    with pytest.raises(InputError, match=words):
        load(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 40e6


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "system"), (eval, "builtins.eval|__builtin__.eval"), (subprocess.Popen, "Popen"), (exec, "exec")],
)
def test_nothing_is_executed(tmp_path, protocol, nested, function, name):
    marker = tmp_path / "executed"
    shell, python = f"touch {marker}", f"open({str(marker)!r}, 'w').close()"
    call = Call(function, {os.system: shell, subprocess.Popen: ["touch", str(marker)]}.get(function, python))
    hostile = np.array([np.zeros((4, 4)), call], dtype=object) if nested else call
    path = npy(tmp_path / "x.npy", pickle.dumps(hostile, protocol=protocol))
    with pytest.raises(InputError, match=f"{name}|operation|damaged") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    archive = tmp_path / "x.npz"
    np.savez(archive, image=np.array([np.zeros((4, 4)), call], dtype=object))
    with pytest.raises(InputError):
        load(archive)
    assert not marker.exists()


def test_the_payloads_are_real(tmp_path):
    """The same file, read the usual way, does run the command: the tests above test something."""
    marker = tmp_path / "executed"
    hostile = np.array([np.zeros((4, 4)), Call(os.system, f"touch {marker}")], dtype=object)
    np.load(npy(tmp_path / "x.npy", pickle.dumps(hostile)), allow_pickle=True)
    assert marker.exists()


def test_crafted_parts_are_real():
    """The hand-made array and object array are what numpy itself would read; only their contradictions are refused."""
    image, mass = read_object_array(objects(IMAGE, MASS), "x")
    np.testing.assert_array_equal(image, [[0, 1], [2, 3]])
    assert mass == 1e-23
    np.testing.assert_array_equal(pickle.loads(objects(IMAGE, MASS))[0], image)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", ">i2", "<i8", "u1", "?", "<f2"])
def test_honest_object_arrays_are_read(object_image, protocol, kind, rng):
    for image in (
        rng.integers(0, 2, (5, 7)).astype(kind),
        np.asfortranarray(rng.integers(0, 2, (3, 5, 7)).astype(kind)),
    ):
        for mass in (2e-23, np.float64(2e-23), np.array(2e-23), np.float32(2e-23)):
            data = pickle.dumps(object_image(image, mass), protocol=protocol)
            if protocol < 2 and kind != "?":  # text opcodes, which numpy.save has never written
                continue
            found = read_object_array(data, "x")
            assert found[0].dtype == image.dtype
            np.testing.assert_array_equal(found[0], image)
            assert float(found[1]) == float(mass)


def test_a_damaged_file_never_escapes(object_image, rng):
    honest = pickle.dumps(object_image(rng.normal(size=(3, 3)), 1e-23), protocol=4)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(honest)
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        try:
            read_object_array(bytes(damaged), "x")
        except InputError:
            refused += 1
    assert refused > 1000


def test_a_hostile_file_in_a_folder_is_skipped_with_its_reason(tmp_path):
    npy(tmp_path / "bad.npy", pickle.dumps(Call(os.system, "true")))
    np.save(tmp_path / "good.npy", np.ones((4, 4)))
    skipped = []
    assert [r.id for r in read(tmp_path, on_skip=lambda path, why: skipped.append((path.name, why)))] == ["good"]
    assert [name for name, _ in skipped] == ["bad.npy"]
    assert "posix.system" in skipped[0][1]
