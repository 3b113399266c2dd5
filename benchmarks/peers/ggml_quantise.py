"""ggml_quantise.py GGUF OUT_DIR --type q8_0|q4_k_m: a float GGUF quantised as llama.cpp's llama-quantize does it.

The numbers are ggml's own: ggml_quantize_chunk of the llama.cpp in the wheel xllamacpp. That wheel has no
llama-quantize, so which tensor gets which type is restated here, for models with separate query, key and value matrices
(llama.cpp, src/llama-quant.cpp; no importance matrix).
"""

import argparse
import concurrent.futures
import ctypes
import os
import pathlib
import re

import gguf
import numpy as np
import xllamacpp.xllamacpp as library
from gguf import GGMLQuantizationType as Type
from gguf import LlamaFileType

import cost

FILE_TYPES = {"q8_0": (Type.Q8_0, LlamaFileType.MOSTLY_Q8_0), "q4_k_m": (Type.Q4_K, LlamaFileType.MOSTLY_Q4_K_M)}
SMALLER_BLOCKS = {Type.Q4_K: Type.Q5_0, Type.Q6_K: Type.Q8_0, Type.Q8_0: Type.F16, Type.Q5_0: Type.F16}


def more_bits(layer: int, layers: int) -> bool:
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def wanted_type(name: str, kind: str, layers: int, tied: bool) -> Type:
    if kind == "q8_0":
        return Type.Q8_0
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return Type.Q6_K
    block = re.fullmatch(r"blk\.(\d+)\.(attn_v|ffn_down)\.weight", name)
    return Type.Q6_K if block and more_bits(int(block[1]), layers) else Type.Q4_K


def type_of(tensor: gguf.ReaderTensor, kind: str, layers: int, tied: bool) -> Type:
    """Vectors stay as they are; a type whose blocks do not fit a matrix's rows gives way to one of smaller blocks."""
    name, width = tensor.name, int(tensor.shape[0])
    if len(tensor.shape) < 2 or not name.endswith("weight") or "_norm" in name:
        return tensor.tensor_type
    if "attn_qkv" in name:
        raise ValueError(f"{name}: the rules for joined query, key and value matrices are not here")
    wanted = wanted_type(name, kind, layers, tied)
    while wanted != Type.F16 and width % gguf.GGML_QUANT_SIZES[wanted][0]:
        wanted = SMALLER_BLOCKS[wanted]
    return wanted


def ggml() -> ctypes.CDLL:
    loaded = ctypes.CDLL(library.__file__)
    loaded.ggml_quantize_chunk.restype = ctypes.c_size_t
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    loaded.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, number, number, number, pointer]
    return loaded


def floats(tensor: gguf.ReaderTensor) -> np.ndarray:
    """(rows, width) float32."""
    values = gguf.dequantize(tensor.data, tensor.tensor_type)
    return np.ascontiguousarray(values.reshape(-1, int(tensor.shape[0])), dtype=np.float32)


def quantised(loaded: ctypes.CDLL, values: np.ndarray, kind: Type) -> np.ndarray:
    """(rows, bytes of a row) uint8."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows, width = values.shape
    packed = np.empty((rows, width // block * size), dtype=np.uint8)
    written = loaded.ggml_quantize_chunk(int(kind), values.ctypes.data, packed.ctypes.data, 0, rows, width, None)
    if written != packed.nbytes:
        raise RuntimeError(f"{kind.name}: ggml wrote {written} bytes of {packed.nbytes}")
    return packed


def converted(loaded: ctypes.CDLL, tensor: gguf.ReaderTensor, kind: Type) -> np.ndarray:
    if kind == tensor.tensor_type:
        return tensor.data
    values = floats(tensor)
    return values.astype(np.float16) if kind == Type.F16 else quantised(loaded, values, kind)


def copy_fields(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> None:
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)


def write_file(path: pathlib.Path, reader: gguf.GGUFReader, file_type: LlamaFileType, types: list[Type],
               every: list[np.ndarray]) -> None:
    writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    copy_fields(reader, writer)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for tensor, data, kind in zip(reader.tensors, every, types):
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", help="float32 or float16 GGUF, of write_gguf")
    parser.add_argument("out")
    parser.add_argument("--type", choices=FILE_TYPES, required=True, dest="kind")
    parser.add_argument("--of", default="", help="what the source is, where it is not the dense model; for the name")
    given = parser.parse_args()
    reader, loaded = gguf.GGUFReader(given.source), ggml()
    making = cost.Making("cpu")
    layers = int(reader.fields[f"{reader.fields['general.architecture'].contents()}.block_count"].contents())
    tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    types = [type_of(tensor, given.kind, layers, tied) for tensor in reader.tensors]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        every = list(pool.map(lambda pair: converted(loaded, *pair), zip(reader.tensors, types)))
    measured = making.measured()
    folder = pathlib.Path(given.out)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / f"model.{given.kind}.gguf", reader, FILE_TYPES[given.kind][1], types, every)
    stored = sum(data.nbytes for data in every)
    looked_up = sum(data.nbytes for tensor, data in zip(reader.tensors, every)
                    if tensor.name == "token_embd.weight" and not tied)
    held = ", ".join(f"{types.count(kind)} {kind.name}" for kind in dict.fromkeys(types))
    name = f"llama.cpp {given.kind.upper()}" + (f" of {given.of}" if given.of else "")
    cost.write(given.out, name, measured,
               {"bytes_stored": stored, "bytes_read_per_token": stored - looked_up}, f"tensors: {held}")


if __name__ == "__main__":
    main()
