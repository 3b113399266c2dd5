"""2:4 sparsity: the mask by magnitude, and what NVIDIA's sparse tensor cores store of a masked matrix."""

import torch

KEPT, GROUP = 2, 4
NOTE = "9 bits a block weight: half of the float16 values, 2 bits each for their places"


def magnitude_mask(weight: torch.Tensor) -> torch.Tensor:
    """(m, n) bool: the two entries of greatest magnitude of every four along a row; n a multiple of 4."""
    rows, columns = weight.shape
    groups = weight.abs().view(rows, columns // GROUP, GROUP)  # (m, n/4, 4)
    kept = groups.topk(KEPT, dim=-1).indices  # (m, n/4, 2)
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, kept, True).view(rows, columns)


def is_sparse(weight: torch.Tensor) -> bool:
    """At most two entries of every four are not zero."""
    return bool((weight.view(weight.shape[0], -1, GROUP).count_nonzero(-1) <= KEPT).all())


def stored_bytes(weight: torch.Tensor) -> int:
    """Half of the float16 values, and two bits for the place of each."""
    return weight.numel() // 2 * 2 + weight.numel() // 2 * 2 // 8
