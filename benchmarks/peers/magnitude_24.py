"""magnitude_24.py MODEL_DIR OUT_DIR: of every four weights along a row the two smallest become zero. No calibration."""

import argparse

import torch

import cost
import models
import sparsity_24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    model = models.load(given.model, given.device)
    making = cost.Making(given.device)
    matrices = models.block_matrices(model)
    with torch.no_grad():
        for module in matrices.values():
            module.weight *= sparsity_24.magnitude_mask(module.weight)  # (m, n)
    measured = making.measured()
    sizes = cost.bytes_of(model, {name: sparsity_24.stored_bytes(m.weight) for name, m in matrices.items()})
    models.save(model, given.model, given.out)
    cost.write(given.out, "magnitude 2:4", measured, sizes, sparsity_24.NOTE)


if __name__ == "__main__":
    main()
