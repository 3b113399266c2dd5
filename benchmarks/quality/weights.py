"""Bytes of a model's weights: what its files hold, and what one token of decoding reads."""

import json
import pathlib
import struct

LOOKED_UP = ("embed_tokens.weight", "embed_positions.weight")  # one row a token


def tensors(path):
    """Name → bytes of a safetensors file, from its header."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return {name: tensor["data_offsets"][1] - tensor["data_offsets"][0]
            for name, tensor in header.items() if name != "__metadata__"}


def of_directory(folder):
    """Bytes of the weight files, and of the tensors that a token reads: all but looked-up embeddings."""
    files = sorted(pathlib.Path(folder).glob("*.safetensors"))
    every = {}
    for path in files:
        every.update(tensors(path))
    tied = not any(name.startswith("lm_head.") for name in every)
    read = sum(size for name, size in every.items()
               if not name.endswith(LOOKED_UP) or (tied and name.endswith(LOOKED_UP[0])))
    return sum(path.stat().st_size for path in files), read


def of_file(path, told, dtype):
    """The same of a GGUF or llama2.c file, and a note: `told` is what inspect says, `dtype` the programs' flag.

    A quantised file is unpacked when it is read, and sliced models are written unpacked: so it is counted unpacked too.
    """
    size, parameters = pathlib.Path(path).stat().st_size, told["parameters"]
    width = 4 if dtype == "fp32" or (dtype == "keep" and size > 3 * parameters) else 2
    looked_up = 0 if told["tied_head"] else told["vocabulary_size"] * told["hidden_size"]
    read = width * (parameters - looked_up)
    if size < 1.9 * parameters:
        return width * parameters, read, f"read from a quantised file of {size} bytes"
    return size, read, ""
