# SPDX-License-Identifier: BSD-2-Clause
"""What web servers compress with, undone by the libraries that they use themselves."""
import ctypes
import gzip

ROOM = 1 << 20


def unbrotli(body):
    library = ctypes.CDLL("libbrotlidec.so.1")
    out, size = ctypes.create_string_buffer(ROOM), ctypes.c_size_t(ROOM)
    assert library.BrotliDecoderDecompress(ctypes.c_size_t(len(body)), body, ctypes.byref(size),
                                           out) == 1, "this is not brotli"
    return ctypes.string_at(out, size.value)


def unzstd(body):
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    out = ctypes.create_string_buffer(ROOM)
    size = library.ZSTD_decompress(out, ctypes.c_size_t(ROOM), body, ctypes.c_size_t(len(body)))
    assert not library.ZSTD_isError(ctypes.c_size_t(size)), "this is not zstd"
    return ctypes.string_at(out, size)


DECODERS = {"gzip": gzip.decompress, "br": unbrotli, "zstd": unzstd, None: bytes}


def decoded(response):
    """The body, decoded once."""
    return DECODERS[response.headers.get("content-encoding")](response.body)
