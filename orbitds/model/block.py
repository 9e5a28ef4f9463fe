"""The transformer block: pre-norm attention and MLP, with stochastic depth."""

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from orbitds.model.attention import attend


class Block(nn.Module):
    """Pre-norm transformer block.

    Parameters
    ----------
    drop_path
        Probability, per sample and branch, of skipping the branch in training (Huang et al. 2016).

    Attributes
    ----------
    attend
        What attention is: ``attention.attend``, or what training puts in its place where processes
        share the tokens of a sample.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.head_width = width // heads
        self.drop_path = drop_path
        self.attend: Callable[..., Tensor] = attend
        self.norm_attention = nn.LayerNorm(width)
        # rows head by head, so that heads can be shared among processes; in a new model the order
        # of the random start stays that of query, key and value
        self.query_key_value = nn.Linear(width, 3 * width)
        with torch.no_grad():
            for weight in self.query_key_value.parameters():
                weight.copy_(rows_by_head(weight, heads))
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width), nn.Dropout(dropout)
        )

    def forward(
        self, tokens: Float[Tensor, "B N D"], lengths: Sequence[int] | None = None
    ) -> Float[Tensor, "B N D"]:
        """Let the tokens of each sample exchange information; ``lengths`` as of ``attend``."""
        branch = self._attention(self.norm_attention(tokens), lengths)
        tokens = tokens + self._skip(branch, lengths)
        return tokens + self._skip(self.mlp(self.norm_mlp(tokens)), lengths)

    def _attention(self, tokens: Tensor, lengths: Sequence[int] | None) -> Tensor:
        # of all heads, or of those of this process where the matrix is shared
        query, key, value = rearrange(
            self.query_key_value(tokens), "b n (h k d) -> k b h n d", k=3, d=self.head_width
        )
        heads = self.attend(query, key, value, lengths)
        return self.project(rearrange(heads, "b h n d -> b n (h d)"))

    def _skip(self, branch: Tensor, lengths: Sequence[int] | None) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        samples = branch.shape[0] if lengths is None else len(lengths)
        mask = torch.rand(samples, 1, 1, device=branch.device) < keep
        if lengths is not None:
            sizes = torch.tensor(lengths, device=branch.device)
            mask = mask.repeat_interleave(sizes, dim=0).transpose(0, 1)
        return branch * mask / keep


def rows_by_head(weight: Float[Tensor, "R *rest"], heads: int) -> Float[Tensor, "R *rest"]:
    """Reorder the rows of all queries, all keys, all values to those of each head in turn."""
    return rearrange(weight, "(k h d) ... -> (h k d) ...", k=3, h=heads)
