"""svd.py MODEL_DIR OUT_DIR --fraction F --calibration TEXT: truncated SVD with activation whitening.

    C = xᵀx of a layer's inputs = L Lᵀ;  W L = U Σ Vᵀ;  W' = U_r Σ_r V_rᵀ L⁻¹ = U_r (U_rᵀ W)

Among the matrices of rank r, W' is nearest to W in ‖x (W − W')ᵀ‖, the error of the layer's outputs (SVD-LLM,
arXiv 2403.07378: its whitening; neither its update of the factors afterwards nor a search for ranks). U are the
eigenvectors of W C Wᵀ = U Σ² Uᵀ, so that L is never made. W' is stored as two factors, r (m + n) numbers: r is the
greatest by which every matrix loses at least the fraction.
"""

import argparse

import torch

import cost
import gram
import models
import windows


def rank_of(m: int, n: int, fraction: float) -> int:
    return int((1 - fraction) * m * n / (m + n))


def output_directions(weight: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """U (m, min(m, n)), greatest last. weight (m, n), moment (n, n), both float64."""
    m, n = weight.shape
    if m <= n:
        return torch.linalg.eigh(weight @ moment @ weight.T).eigenvectors  # (m, m)
    Q, R = torch.linalg.qr(weight)  # (m, n), (n, n): the eigenvectors lie in Q's span
    return Q @ torch.linalg.eigh(R @ moment @ R.T).eigenvectors  # (m, n)


def truncated(weight: torch.Tensor, moment: torch.Tensor, rank: int) -> torch.Tensor:
    """(m, n) of rank `rank`, float64."""
    weight = weight.double()
    U = output_directions(weight, moment)[:, -rank:]  # (m, r)
    return U @ (U.T @ weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--fraction", type=float, required=True, help="of the block weights to remove")
    windows.add_arguments(parser)
    parser.add_argument("--batch", type=int, default=4, help="windows at once")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    model = models.load(given.model, given.device)
    tokens = windows.calibration(models.load_tokenizer(given.model), given.calibration, given.samples, given.context)
    making = cost.Making(given.device)
    matrices = models.block_matrices(model)
    moments = gram.input_moments(model, matrices, tokens, given.batch)
    held = {}
    with torch.no_grad():
        for name, module in matrices.items():
            m, n = module.weight.shape
            rank = rank_of(m, n, given.fraction)
            module.weight.copy_(truncated(module.weight, moments.of(name), rank))
            held[name] = cost.HALF * rank * (m + n)
    measured = making.measured()
    kept = sum(held.values()) / sum(cost.plain(model).values())
    models.save(model, given.model, given.out)
    cost.write(given.out, f"SVD whitened {100 * given.fraction:g} %", measured, cost.bytes_of(model, held),
               f"two factors a matrix, {100 * (1 - kept):.2f} % of the block weights less", removed=round(1 - kept, 6))


if __name__ == "__main__":
    main()
