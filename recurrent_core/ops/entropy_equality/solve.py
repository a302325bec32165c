"""Solves many small symmetric positive definite systems (C + r I) z = y at once, differentiably.

I know nothing of moments or attention.
"""

import torch
from torch import Tensor


def solve_spd(matrix: Tensor, ridge: Tensor, right: Tensor) -> Tensor:
    """Solve (matrix + ridge I) z = right by Cholesky.

    Args:
        matrix: [..., d, d] symmetric, eigenvalues >= 0.
        ridge: [...], > 0.
        right: [..., d, num_columns].
    Returns:
        z: [..., d, num_columns].
    """
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    factor, _ = torch.linalg.cholesky_ex(matrix + ridge[..., None, None] * eye)
    return torch.cholesky_solve(right, factor)
