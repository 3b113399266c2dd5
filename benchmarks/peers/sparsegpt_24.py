"""sparsegpt_24.py MODEL_DIR OUT_DIR --calibration TEXT: SparseGPT (arXiv 2301.00774), 2:4, by llm-compressor."""

from llmcompressor.modifiers.pruning import SparseGPTModifier

import compressor
import cost
import models
import sparsity_24


def main() -> None:
    given = compressor.arguments(__doc__)
    recipe = SparseGPTModifier(sparsity=0.5, mask_structure="2:4", targets=["Linear"], ignore=["re:.*lm_head"])
    plain, measured = compressor.compressed(given, lambda model: recipe)
    matrices = models.block_matrices(plain)
    dense = [name for name, module in matrices.items() if not sparsity_24.is_sparse(module.weight)]
    if dense:
        raise RuntimeError(f"not 2:4 sparse: {', '.join(dense)}")
    sizes = cost.bytes_of(plain, {name: sparsity_24.stored_bytes(m.weight) for name, m in matrices.items()})
    models.save(plain, given.model, given.out)
    cost.write(given.out, "SparseGPT 2:4", measured, sizes, sparsity_24.NOTE)


if __name__ == "__main__":
    main()
