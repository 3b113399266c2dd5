"""gptq_w4a16.py MODEL_DIR OUT_DIR --calibration TEXT: GPTQ (arXiv 2210.17323), 4 bits, by llm-compressor.

Symmetric, one float16 scale for 128 weights of a row, or 64 or 32 where 128 does not divide every width.
"""

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, QuantizationStrategy
from llmcompressor.modifiers.quantization import GPTQModifier

import compressor
import cost
import models

BITS, SCALE_BYTES = 4, 2


def group_size(matrices: dict[str, torch.nn.Linear]) -> int:
    widths = {module.weight.shape[1] for module in matrices.values()}
    for size in (128, 64, 32):
        if all(width % size == 0 for width in widths):
            return size
    raise ValueError(f"widths {sorted(widths)}: want multiples of 32")


def stored_bytes(weight: torch.Tensor, group: int) -> int:
    return weight.numel() * BITS // 8 + weight.numel() // group * SCALE_BYTES


def recipe(group: int) -> GPTQModifier:
    weights = QuantizationArgs(num_bits=BITS, type="int", symmetric=True, strategy=QuantizationStrategy.GROUP,
                               group_size=group)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    return GPTQModifier(config_groups={"all": scheme}, ignore=["re:.*lm_head"])


def main() -> None:
    given = compressor.arguments(__doc__)
    plain, measured = compressor.compressed(given, lambda model: recipe(group_size(models.block_matrices(model))))
    matrices = models.block_matrices(plain)
    group = group_size(matrices)
    sizes = cost.bytes_of(plain, {name: stored_bytes(m.weight, group) for name, m in matrices.items()})
    models.save(plain, given.model, given.out)
    cost.write(given.out, f"GPTQ W4A16 g{group}", measured, sizes, f"4 bits a weight, a float16 scale for {group}")


if __name__ == "__main__":
    main()
