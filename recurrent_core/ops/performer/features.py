"""Positive orthogonal random features of the softmax kernel (arXiv:2009.14794).

I know nothing of sums or states.
"""

import torch
from torch import Tensor


def draw(num_features: int, d_k: int, generator: torch.Generator | None = None) -> Tensor:
    """Directions w_1 ... w_m, [num_features, d_k] float32: orthogonal in blocks of d_k, as long as Gaussian ones."""
    blocks = [
        torch.linalg.qr(torch.randn(d_k, d_k, generator=generator, dtype=torch.float64))[0].T
        for _ in range(-(-num_features // d_k))
    ]
    lengths = torch.randn(num_features, d_k, generator=generator, dtype=torch.float64).norm(dim=1)
    directions: Tensor = torch.cat(blocks)[:num_features] * lengths.unsqueeze(-1)
    return directions.float()


def log_features(x: Tensor, directions: Tensor) -> Tensor:
    """log of sqrt(m) phi_f(x) = exp(w_f'y - |y|^2 / 2),  y = x / d_k^(1/4).

    Lemma 1 of the source: E phi(q)'phi(k) = exp(q'k / sqrt(d_k)). The factor 1/sqrt(m) falls out of the ratio.

    Args:
        x: [..., d_k]; directions: [num_features, d_k].
    Returns:
        [..., num_features].
    """
    scaled = x * x.shape[-1] ** -0.25
    logs: Tensor = scaled @ directions.to(x.dtype).T - 0.5 * scaled.square().sum(-1, keepdim=True)
    return logs
