"""Writes the corpus of the fuzzers and of its replay: small files, good ones and files damaged in ways that were seen.

    python cpp/fuzz/make_corpus.py       # needs numpy and blosc2; writes beside itself, the same bytes every time

`good_*` are read, `bad_*` are refused. What a fuzzer found is `found_*`: it is added by hand and not touched here.
"""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

CORPUS = Path(__file__).parent / "corpus"


def volume(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Smooth along the last axis, different at every neighbour."""
    count = np.arange(np.prod(shape))
    return ((count * 7 + count // 61) % 113).astype(dtype).reshape(shape)


def write(name: str, content: bytes) -> None:
    """One file of the corpus."""
    (CORPUS / name.rpartition(".")[2] / name).write_bytes(content)


def replaced(content: bytes, at: int, new: bytes) -> bytes:
    """The same with other bytes from `at` on."""
    return content[:at] + new + content[at + len(new) :]


def b2nd(array: np.ndarray[Any, Any], chunks: tuple[int, ...], blocks: tuple[int, ...], **cparams: Any) -> bytes:
    """As nnU-Net writes it: a contiguous frame with the metalayer b2nd."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.b2nd"
        settings = {"codec": blosc2.Codec.ZSTD, "clevel": 8, "nthreads": 1, **cparams}
        blosc2.asarray(array, urlpath=str(path), chunks=chunks, blocks=blocks, cparams=settings)
        return path.read_bytes()


def b2nd_full(
    shape: tuple[int, ...], value: float, chunks: tuple[int, ...] = (1, 8, 8, 8), blocks: tuple[int, ...] = (1, 4, 8, 8)
) -> bytes:
    """Every voxel the same, which takes no chunks at all."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.b2nd"
        blosc2.full(shape, value, dtype="f4", urlpath=str(path), chunks=chunks, blocks=blocks)
        return path.read_bytes()


def make_b2nd() -> None:
    """Every codec and filter that is read, every kind of chunk, and damage to each part."""
    shape, chunks, blocks = (2, 9, 10, 11), (1, 8, 8, 11), (1, 4, 8, 8)
    image = volume(shape, "f4")
    for codec in ("BLOSCLZ", "LZ4", "LZ4HC", "ZLIB", "ZSTD"):
        write(f"good_{codec.lower()}.b2nd", b2nd(image, chunks, blocks, codec=getattr(blosc2.Codec, codec)))
    for dtype in ("f2", "f8", "i1", "u1", "i2", "i4", "i8", "?"):
        write(f"good_{dtype.replace('?', 'bool')}.b2nd", b2nd(volume((1, 5, 6, 7), dtype), (1, 5, 4, 7), (1, 2, 4, 4)))
    for filters in ("NOFILTER", "BITSHUFFLE"):
        chosen = [getattr(blosc2.Filter, filters)]
        write(f"good_{filters.lower()}.b2nd", b2nd(image, chunks, blocks, filters=chosen, filters_meta=[0]))
    write("good_uncompressed.b2nd", b2nd(image, chunks, blocks, clevel=0))
    write("good_3_axes.b2nd", b2nd(image[0], chunks[1:], blocks[1:]))
    write("good_full.b2nd", b2nd_full(shape, 2.5))
    write("good_zeros.b2nd", b2nd_full(shape, 0.0))
    # Little in the file, 128 MiB in memory.
    write("bad_huge_block.b2nd", b2nd_full((1, 1, 4096, 8192), 0.0, (1, 1, 4096, 8192), (1, 1, 4096, 8192)))
    write("good_nan.b2nd", b2nd_full(shape, float("nan")))
    sparse = np.where(volume((1, 16, 16, 16), "f4") > 111, 1, 0).astype("f4")
    sparse[:, :8] = 0
    write("good_chunks_of_zeros.b2nd", b2nd(sparse, (1, 8, 8, 8), (1, 8, 8, 8)))

    whole = b2nd(image, chunks, blocks)
    header = int.from_bytes(whole[11:15], "big")
    length = len(whole)
    write("bad_empty.b2nd", b"")
    write("bad_truncated_header.b2nd", whole[:60])
    write("bad_truncated_metalayers.b2nd", whole[: header - 40])
    write("bad_truncated_chunks.b2nd", whole[: header + (length - header) // 2])
    write("bad_zeros_at_the_end.b2nd", whole[:header] + bytes(length - header))
    write("bad_zeros.b2nd", bytes(length))
    write("bad_header_length.b2nd", replaced(whole, 11, b"\x7f\xff\xff\xff"))
    write("bad_frame_length.b2nd", replaced(whole, 16, b"\x7f" + b"\xff" * 7))
    write("bad_compressed_length.b2nd", replaced(whole, 39, b"\x7f" + b"\xff" * 7))
    write("bad_chunk_length.b2nd", replaced(whole, 58, b"\x7f\xff\xff\xff"))
    write("bad_typesize.b2nd", replaced(whole, 48, b"\x00\x00\x00\x08"))
    at = whole.index(b"\x97\x00\x04\x94") + 4
    write("bad_shape_of_nothing.b2nd", replaced(whole, at, b"\xd3" + bytes(8)))
    write("bad_huge_shape.b2nd", replaced(whole, at, b"\xd3\x00" + b"\xff" * 7))
    write("bad_negative_shape.b2nd", replaced(whole, at, b"\xd3" + b"\xff" * 8))
    write("bad_dtype.b2nd", whole.replace(b"<f4", b">f4"))
    write("bad_dtype_fields.b2nd", whole.replace(b"<f4", b"[('"))
    # The first chunk's own header is 32 bytes: flags at 2, then sizes, all little-endian.
    write("bad_chunk_flags.b2nd", replaced(whole, header + 2, b"\x00"))
    write("bad_chunk_bytes.b2nd", replaced(whole, header + 4, b"\xff\xff\xff\x7f"))
    write("bad_chunk_block.b2nd", replaced(whole, header + 8, b"\xff\xff\xff\x7f"))
    write("bad_chunk_blocks_of_others.b2nd", replaced(whole, header + 8, struct.pack("<i", 704)))
    write("bad_chunk_size.b2nd", replaced(whole, header + 12, b"\xff\xff\xff\x7f"))
    write("bad_chunk_filter.b2nd", replaced(whole, header + 21, b"\x21"))
    write("bad_chunk_starts.b2nd", replaced(whole, header + 32, b"\xff\xff\xff\x7f" * 4))
    write("bad_index.b2nd", replaced(whole, whole.rindex(b"\x05", header, length - 40) + 4, b"\xff\xff\xff\x7f"))


def npy(array: np.ndarray[Any, Any], version: tuple[int, int] = (1, 0)) -> bytes:
    """As NumPy writes it."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


def npy_of(header: str, voxels: bytes = bytes(480)) -> bytes:
    """With any text as its header."""
    text = header.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + voxels


def make_npy() -> None:
    """Every type and version that is read; headers that are wrong, endless or too large."""
    image = volume((2, 3, 4, 5), "f4")
    for dtype in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"):
        write(f"good_{dtype.replace('?', 'bool')}.npy", npy(volume((2, 3, 4, 5), dtype)))
    for version in ((2, 0), (3, 0)):
        write(f"good_version_{version[0]}.npy", npy(image, version))
    write("good_fortran.npy", npy(np.asfortranarray(image)))
    write("good_3_axes.npy", npy(image[0]))

    whole = npy(image)
    write("bad_empty.npy", b"")
    write("bad_magic.npy", whole[:6])
    write("bad_truncated_header.npy", whole[:100])
    write("bad_truncated.npy", whole[:-1])
    write("bad_version.npy", replaced(whole, 6, b"\x09"))
    write("bad_header_length.npy", replaced(npy(image, (2, 0)), 8, b"\xff\xff\xff\xff"))
    write("bad_objects.npy", npy_of("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3, 4, 5), }"))
    write("bad_big_endian.npy", npy(image.astype(">f4")))
    write("bad_fields.npy", npy_of("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3, 4, 5), }"))
    write("bad_code.npy", npy_of("{'descr': __import__('os').system('id'), 'fortran_order': False, 'shape': (1,), }"))
    for name, shape in {
        "no_voxels": "(2, 0, 4, 5)",
        "negative": "(2, -3, 4, 5)",
        "huge": "(2, 4611686018427387904, 4, 5)",
        "overflow": "(4294967296, 4294967296, 4294967296, 4294967296)",
        "99_digits": "(" + "9" * 40 + ", 3, 4)",
        "2_axes": "(10, 12)",
        "many_axes": "(" + "1, " * 20 + ")",
        "unclosed": "(2, 3, 4, 5",
    }.items():
        write(f"bad_shape_{name}.npy", npy_of(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"))


def npz(members: dict[str, bytes], method: int) -> bytes:
    """As NumPy writes it, every time the same."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def with_another_literal(archive: bytes, directory: int) -> bytes:
    """One bit of the first member changed so that it is still deflate data of the same length, of other voxels."""
    compressed, size = struct.unpack("<II", archive[directory + 20 : directory + 28])
    begin = 30 + sum(struct.unpack("<HH", archive[26:30]))
    whole = zlib.decompress(archive[begin : begin + compressed], -15)
    for at in range(begin + compressed // 2, begin + compressed):
        changed = replaced(archive, at, bytes([archive[at] ^ 1]))
        with contextlib.suppress(zlib.error):
            found = zlib.decompress(changed[begin : begin + compressed], -15)
            if len(found) == size and found != whole and found[:128] == whole[:128]:
                return changed
    raise AssertionError("no bit of a literal was found")


def make_npz() -> None:
    """Stored and deflated; every record of the archive damaged."""
    image, labels = npy(volume((2, 3, 4, 5), "f4")), npy(volume((1, 3, 4, 5), "i2"))
    both = {"data.npy": image, "seg.npy": labels}
    deflated = npz(both, zipfile.ZIP_DEFLATED)
    stored = npz(both, zipfile.ZIP_STORED)
    write("good_deflated.npz", deflated)
    write("good_stored.npz", stored)
    write("good_last.npz", npz({"seg.npy": labels, "data.npy": image}, zipfile.ZIP_DEFLATED))
    with io.BytesIO() as stream:
        np.savez(stream, data=volume((1, 4, 5, 6), "i2"), allow_pickle=False)
        dated = stream.getvalue()
    write("good_numpy_wrote.npz", dated)

    directory = deflated.index(b"PK\x01\x02")
    write("bad_empty.npz", b"")
    write("bad_truncated.npz", deflated[:-1])
    write("bad_truncated_half.npz", deflated[: len(deflated) // 2])
    write("bad_no_member.npz", npz({"seg.npy": labels}, zipfile.ZIP_DEFLATED))
    write("bad_no_npy.npz", npz({"data.npy": b"no array"}, zipfile.ZIP_DEFLATED))
    write("bad_bzip2.npz", npz(both, zipfile.ZIP_BZIP2))
    write("bad_fortran.npz", npz({"data.npy": npy(np.asfortranarray(volume((2, 3, 4, 5), "f4")))}, zipfile.ZIP_DEFLATED))
    write("bad_encrypted.npz", replaced(deflated, directory + 8, b"\x01\x00"))
    write("bad_directory_place.npz", replaced(deflated, len(deflated) - 6, b"\xfe\xff\xff\xff"))
    write("bad_directory_names.npz", replaced(deflated, directory + 28, b"\xff\xff"))
    write("bad_member_place.npz", replaced(deflated, directory + 42, b"\xfe\xff\xff\xff"))
    write("bad_member_size.npz", replaced(deflated, directory + 24, b"\xfe\xff\xff\xff"))
    write("bad_member_compressed.npz", replaced(deflated, directory + 20, b"\xfe\xff\xff\xff"))
    write("bad_member_compressed_none.npz", replaced(deflated, directory + 20, bytes(4)))
    write("bad_long_sizes.npz", replaced(deflated, directory + 20, b"\xff" * 8))
    write("bad_checksum.npz", replaced(deflated, directory + 16, b"\x01\x02\x03\x04"))
    write("bad_literal.npz", with_another_literal(deflated, directory))
    write("bad_deflate.npz", replaced(deflated, 40, b"\xff" * 8))
    write("bad_deflate_zeros.npz", replaced(deflated, 38, bytes(60)))
    write("bad_stored_npy.npz", stored.replace(b"'shape': (2", b"'shape': (9"))
    bomb = npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4096, 4096, 4096), }", bytes(1 << 20))
    write("bad_bomb.npz", npz({"data.npy": bomb}, zipfile.ZIP_DEFLATED))


if __name__ == "__main__":
    for folder in ("b2nd", "npy", "npz"):
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
        for old in (CORPUS / folder).glob("*"):
            if not old.name.startswith("found_"):
                old.unlink()
    make_b2nd()
    make_npy()
    make_npz()
