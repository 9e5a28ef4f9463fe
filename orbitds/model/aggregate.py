"""Tokenise each variable by its own projection and cross-attend over the variables: V tokens -> 1.

The tokens are never built. Everything before the softmax is affine in the P^2 pixels of a patch,
so the patch projection is folded into the keys and values: scores and outputs are products with
P^2 + 1 numbers per variable instead of D, exactly.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from orbitds.model.interface import unchanged

ALL = slice(None)


class VariableAggregation(nn.Module):
    """One learned query attends, at each place, over the tokens of all variables.

    Parameters
    ----------
    variables
        Names of the variables it knows; ``forward`` takes any of them, in any order.
    drop_variables
        Probability that a variable of a sample is left out in training; at least one stays.

    Attributes
    ----------
    own
        From the number of given variables to those that this process works on: all of them, or what
        training puts there where processes share the variables of a sample.
    combine
        From what the own variables give (``_weigh``) to what all give, and the part of the own ones
        in the weights of each place and head. None where they are all.
    add
        From an image of the own variables to that of all.

    References
    ----------
    ORBIT-2 (Wang et al. 2025), Reslim: cross-attention over variables. The folding is ours; the
    straightforward form stands in ``tests/model/test_aggregate.py``.
    """

    def __init__(
        self,
        variables: Sequence[str],
        *,
        patch: int,
        width: int,
        heads: int,
        drop_variables: float = 0.0,
    ) -> None:
        super().__init__()
        self.variables = tuple(variables)
        self.patch = patch
        self.heads = heads
        self.drop_variables = drop_variables
        self._places: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}
        self.own: Callable[[int], slice] = slice
        self.combine: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
        self.add: Callable[[Tensor], Tensor] = unchanged
        count, pixels = len(self.variables), patch * patch
        # e_v = embed[v] x_v + bias[v]; the bias is the patch bias and the variable embedding in one
        self.embed = nn.Parameter(torch.randn(count, width, pixels) * pixels**-0.5)
        self.bias = nn.Parameter(torch.randn(count, width) * 0.02)
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.to_query = nn.Linear(width, width)
        # a bias of the keys would shift all scores of a place alike, and cancel in the softmax
        self.to_key = nn.Linear(width, width, bias=False)
        self.to_value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def forward(
        self,
        fields: Float[Tensor, "B V H W"],
        variables: Sequence[str],
        patches: slice = ALL,
    ) -> Float[Tensor, "B n D"]:
        """Return one token per patch, row by row.

        Parameters
        ----------
        fields
            Normalised fields; H and W are multiples of the patch.
        variables
            Names of the V fields.
        patches
            Those that tokens are made of, by their place in the row.
        """
        return self._attend(fields, variables, patches)[0]

    def with_image(
        self, fields: Float[Tensor, "B V H W"], variables: Sequence[str]
    ) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B H W"]]:
        """Return the tokens, and the mean of the fields that the query attends to, no gradient."""
        tokens, weights = self._attend(fields, variables, ALL)
        with torch.no_grad():
            weight = weights.detach().float().mean(dim=2)  # B N V
            rows = fields.shape[-2] // self.patch
            weight = rearrange(weight, "b (h w) v -> b v h w", h=rows)
            cells = repeat(weight, "b v h w -> b v (h p) (w q)", p=self.patch, q=self.patch)
            return tokens, self.add((cells * fields[:, self.own(len(variables))]).sum(dim=1))

    def _attend(
        self, fields: Tensor, variables: Sequence[str], patches: slice
    ) -> tuple[Float[Tensor, "B n D"], Float[Tensor, "B n h v"]]:
        """Return the tokens of patches, and the weights of the own variables."""
        own = self.own(len(variables))
        index = self._index(variables, fields.shape[1], fields.device)[own]
        with _full_precision(fields.device.type):  # small products
            folded = self._fold(index)
        dropped = None
        if self.training and self.drop_variables > 0:
            dropped = self._dropped(fields)[:, own]
        fields = fields[:, own]
        if torch.is_grad_enabled():
            # the weighted pixels are V times as large as a token and cheap: made again in the
            # backward pass, they are never kept
            out, weights, level = checkpoint(
                self._weigh,
                fields,
                patches,
                dropped,
                *folded,
                use_reentrant=False,
                preserve_rng_state=False,
            )
        else:
            out, weights, level = self._weigh(fields, patches, dropped, *folded)
        if self.combine is not None:
            assert level is not None
            out, part = self.combine(out, level)
            weights = weights * part[..., None]
        return self.project(rearrange(out, "b n h d -> b n (h d)")), weights

    def _weigh(
        self,
        fields: Tensor,
        patches: slice,
        dropped: Tensor | None,
        key: Tensor,
        key_bias: Tensor,
        value: Tensor,
        value_bias: Tensor,
    ) -> tuple[Float[Tensor, "B n h d"], Float[Tensor, "B n h v"], Float[Tensor, "B n h"] | None]:
        """Return the weighted mean of the values, the weights, and the level of the scores.

        The level, the logarithm of the sum of their exponentials, is what means of several groups
        of variables are weighted by; without a need for it there is none.
        """
        pixels = rearrange(fields, "b v (h p) (w q) -> b (h w) v (p q)", p=self.patch, q=self.patch)
        pixels = pixels[:, patches]
        scores = einsum(pixels, key.to(pixels), "b n v k, h v k -> b n h v") + key_bias
        if dropped is not None:
            # finite, so that a process may have lost all of its variables: none weighs anything
            lowest = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(dropped[:, None, None, :], lowest)
        weights = scores.softmax(dim=-1)
        out = einsum(weights, pixels, value.to(pixels), "b n h v, b n v k, h v k d -> b n h d")
        out = out + einsum(weights, value_bias.to(weights), "b n h v, h v d -> b n h d")
        level = None if self.combine is None else scores.logsumexp(dim=-1)
        return out, weights, level

    def _index(
        self, variables: Sequence[str], fields: int, device: torch.device
    ) -> Int[Tensor, " V"]:
        """Return the places of variables, kept on the device: a copy there would make it wait."""
        unknown = [name for name in variables if name not in self.variables]
        if unknown or not variables:
            raise ValueError(
                f"Wanted some of the variables {list(self.variables)}, got {list(variables)}. "
                "Select the variables this model was built for."
            )
        # a single field or name would broadcast in silence
        if fields != len(variables):
            raise ValueError(
                f"Wanted one field for each of the variables {list(variables)}, got {fields} "
                "fields. Name the fields in their order."
            )
        places = [self.variables.index(name) for name in variables]
        if torch.compiler.is_compiling():  # a constant of the graph
            return torch.tensor(places, device=device)
        key = tuple(places), device
        if key not in self._places:
            with torch.inference_mode(mode=False):  # training may need it later
                self._places[key] = torch.tensor(places, device=device)
        return self._places[key]

    def _fold(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Fold the patch projection into keys and values: small, and independent of the data."""
        embed, bias = self.embed[index], self.bias[index]
        head = self.query.numel() // self.heads
        query = rearrange(self.to_query(self.query), "(h d) -> h d", h=self.heads)
        to_key = rearrange(self.to_key.weight, "(h d) e -> h d e", h=self.heads)
        to_value = rearrange(self.to_value.weight, "(h d) e -> h d e", h=self.heads)
        value_shift = rearrange(self.to_value.bias, "(h d) -> h 1 d", h=self.heads)
        direction = einsum(query, to_key, "h d, h d e -> h e") * head**-0.5
        return (
            einsum(direction, embed, "h e, v e k -> h v k"),
            einsum(direction, bias, "h e, v e -> h v"),
            einsum(to_value, embed, "h d e, v e k -> h v k d"),
            einsum(to_value, bias, "h d e, v e -> h v d") + value_shift,
        )

    def _dropped(self, fields: Float[Tensor, "B V H W"]) -> Bool[Tensor, "B V"]:
        """Choose, per sample, the variables to leave out; the luckiest one always stays."""
        luck = torch.rand(fields.shape[:2], device=fields.device)
        threshold = luck.amax(dim=-1, keepdim=True).clamp(max=self.drop_variables)
        return luck < threshold


def _full_precision(device: str) -> AbstractContextManager:
    """Return a context without autocast, also where there is none to switch off (meta)."""
    # (torch.amp.is_autocast_available would say so, but torch.compile does not trace it in 2.11)
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)
