"""Attention in one place."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def attend(
    query: Float[Tensor, "B h N d"], key: Float[Tensor, "B h M d"], value: Float[Tensor, "B h M d"]
) -> Float[Tensor, "B h N d"]:
    """Return softmax(query key^T / sqrt(d)) value, by the fastest kernel PyTorch has for it."""
    return F.scaled_dot_product_attention(query, key, value)
