"""sparsegpt_24.py MODEL_DIR OUT_DIR --calibration TEXT: SparseGPT (arXiv 2301.00774), 2:4, by llm-compressor."""

import argparse

import torch
from llmcompressor.modifiers.pruning import SparseGPTModifier

import compressor
import cost
import models
import sparsity_24
import windows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--calibration", action="append", required=True, metavar="TEXT")
    parser.add_argument("--samples", type=int, default=128, help="windows of each text")
    parser.add_argument("--context", type=int, default=2048)
    given = parser.parse_args()
    model = models.load(given.model, "cpu")
    tokens = windows.calibration(models.load_tokenizer(given.model), given.calibration, given.samples, given.context)
    making = cost.Making("cuda" if torch.cuda.is_available() else "cpu")
    compressor.compress(model, SparseGPTModifier(sparsity=0.5, mask_structure="2:4", targets=["Linear"],
                                                 ignore=["re:.*lm_head"]), tokens)
    measured = making.measured()
    plain = compressor.unpacked(model, given.model)
    matrices = models.block_matrices(plain)
    dense = [name for name, module in matrices.items() if not sparsity_24.is_sparse(module.weight)]
    if dense:
        raise RuntimeError(f"not 2:4 sparse: {', '.join(dense)}")
    sizes = cost.bytes_of(plain, {name: sparsity_24.stored_bytes(m.weight) for name, m in matrices.items()})
    models.save(plain, given.model, given.out)
    cost.write(given.out, "SparseGPT 2:4", measured, sizes, sparsity_24.NOTE)


if __name__ == "__main__":
    main()
