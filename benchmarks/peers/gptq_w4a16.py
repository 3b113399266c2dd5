"""gptq_w4a16.py MODEL_DIR OUT_DIR --calibration TEXT: GPTQ (arXiv 2210.17323), 4 bits, by llm-compressor.

Symmetric, one float16 scale for 128 weights of a row, or 64 or 32 where 128 does not divide every width.
"""

import argparse

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, QuantizationStrategy
from llmcompressor.modifiers.quantization import GPTQModifier

import compressor
import cost
import models
import windows

BITS, SCALE_BYTES = 4, 2


def group_size(matrices: dict[str, torch.nn.Linear]) -> int:
    widths = {module.weight.shape[1] for module in matrices.values()}
    for size in (128, 64, 32):
        if all(width % size == 0 for width in widths):
            return size
    raise ValueError(f"widths {sorted(widths)}: want multiples of 32")


def stored_bytes(weight: torch.Tensor, group: int) -> int:
    return weight.numel() * BITS // 8 + weight.numel() // group * SCALE_BYTES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--calibration", action="append", required=True, metavar="TEXT")
    parser.add_argument("--samples", type=int, default=128, help="windows of each text")
    parser.add_argument("--context", type=int, default=2048)
    given = parser.parse_args()
    model = models.load(given.model, "cpu")
    tokens = windows.calibration(models.load_tokenizer(given.model), given.calibration, given.samples, given.context)
    making = cost.Making("cuda" if torch.cuda.is_available() else "cpu")
    group = group_size(models.block_matrices(model))
    weights = QuantizationArgs(num_bits=BITS, type="int", symmetric=True, strategy=QuantizationStrategy.GROUP,
                               group_size=group)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    compressor.compress(model, GPTQModifier(config_groups={"all": scheme}, ignore=["re:.*lm_head"]), tokens)
    measured = making.measured()
    plain = compressor.unpacked(model, given.model)
    matrices = models.block_matrices(plain)
    sizes = cost.bytes_of(plain, {name: stored_bytes(m.weight, group) for name, m in matrices.items()})
    models.save(plain, given.model, given.out)
    cost.write(given.out, f"GPTQ W4A16 g{group}", measured, sizes, f"4 bits a weight, a float16 scale for {group}")


if __name__ == "__main__":
    main()
