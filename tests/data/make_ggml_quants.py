"""Writes ggml_quants.safetensors: random blocks of every quantised type that libslice reads from a GGUF file, and the
float32 values that the `gguf` package makes of them.

Usage: python make_ggml_quants.py        (gguf, numpy, safetensors)

TYPE.bytes (blocks, bytes a block) uint8, TYPE.values (blocks, values a block) float32.
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save_file

BLOCKS = {32: 64, 256: 16}
# Where the float16 scales of a block begin.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}

random = np.random.default_rng(5)
tensors = {}
for name, scales in SCALES.items():
    kind = GGMLQuantizationType[name]
    values, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (BLOCKS[values], size), dtype=np.uint8)
    for offset in scales:  # finite ones
        high = blocks[:, offset + 1]
        high[(high & 0x7C) == 0x7C] = 0x3C
    tensors[f"{name}.bytes"] = blocks
    tensors[f"{name}.values"] = dequantize(blocks, kind).astype(np.float32)
save_file(tensors, pathlib.Path(__file__).with_name("ggml_quants.safetensors"))
