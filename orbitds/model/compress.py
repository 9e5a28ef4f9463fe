"""Adaptive spatial compression: one token a leaf of the quadtree of the field's edges."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from orbitds.model.edges import count_edges, edges_of
from orbitds.model.quadtree import Quadtree, build_quadtree, check_ratio

# Sizes of leaves told apart, beside single patches: edges of 2, 4, ... 256 patches, and more.
LEVELS = 8
_Context = Any  # a class that autograd makes for each function


class Compression(nn.Module):
    """Merge the tokens of calm places before the trunk, and give each patch its token back after.

    Without a density a ratio of 1 would merge some tokens still, for want of a whole budget: the
    model that does not compress leaves this module out.

    Parameters
    ----------
    ratio
        Patches per token, at least 1.
    density
        Edge pixels per pixel above which a block is split, as far as the budget goes; a ratio of 1
        sets no budget. The tree is then ragged. None spends the budget, whatever the field.

    Notes
    -----
    Position and resolution are to be added after ``compress``, at the leaves' centres.
    """

    def __init__(
        self, width: int, *, patch: int, ratio: float, density: float | None = None
    ) -> None:
        super().__init__()
        if ratio == 1 and density is None:
            raise ValueError(
                "Wanted a ratio above 1 or a density, got ratio 1 alone. "
                "Leave the compression out of a model that does not compress."
            )
        check_ratio(ratio, density)
        self.patch, self.ratio, self.density = patch, ratio, density
        self.level = nn.Parameter(torch.zeros(LEVELS, width))  # none for single patches
        self.skip = nn.Linear(width, width)

    def compress(
        self, tokens: Float[Tensor, "B N D"], image: Float[Tensor, "B H W"], *, periodic: bool
    ) -> tuple[Float[Tensor, "G M D"], Quadtree]:
        """Return the token of each leaf, and the tree.

        Parameters
        ----------
        image
            The field whose edges ask for detail, normalised, ``patch x patch`` pixels a token.
        periodic
            Whether the last column is a neighbour of the first.
        """
        counts = count_edges(edges_of(image, periodic=periodic), self.patch)
        tree = build_quadtree(
            counts, patch=self.patch, ratio=self.ratio, density=self.density, periodic=periodic
        )
        leaves = pool(tokens, tree)
        # by a product, whose gradient is one too, where that of an index would be a contended sum
        levels = torch.arange(1, LEVELS + 1, device=tokens.device)
        chosen = tree.level.clamp(max=LEVELS)[..., None] == levels
        return leaves + chosen.to(self.level.dtype) @ self.level, tree

    def expand(
        self, leaves: Float[Tensor, "G M D"], tree: Quadtree, tokens: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B N D"]:
        """Give each patch its leaf's token, plus a projection of its own from before ``compress``.

        Parameters
        ----------
        tokens
            As given to ``compress``.
        """
        return expand(leaves, tree) + self.skip(tokens)


def pool(tokens: Float[Tensor, "B N D"], tree: Quadtree) -> Float[Tensor, "G M D"]:
    """Return the mean token of the patches of each leaf, summed in float32 or better.

    Patches beyond the border, where roots reach over it, repeat the outer row and column, or wrap
    where the tree is periodic.
    """
    # rounded out here: of a forward pass that ends in a conversion to the type it has already,
    # torch.compile (PyTorch 2.11) gives gradients of zero
    return _Pool.apply(tokens, tree).to(tokens.dtype)


def expand(leaves: Float[Tensor, "G M D"], tree: Quadtree) -> Float[Tensor, "B N D"]:
    """Give each patch the token of its leaf, row by row: the inverse of ``pool`` on such tokens."""
    return _Expand.apply(leaves, tree)


class _Pool(torch.autograd.Function):
    """Mean by leaf. Each way gathers, so that no sum depends on the order of threads."""

    @staticmethod
    def forward(ctx: _Context, tokens: Tensor, tree: Quadtree) -> Tensor:
        ctx.tree, ctx.dtype = tree, tokens.dtype
        return _sum_leaves(tokens[:, tree.source], tree) / _size(tree)

    @staticmethod
    def backward(ctx: _Context, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (grad,), tree = grad_outputs, ctx.tree
        shares = _wide(grad) / _size(tree)
        return _fold(shares.flatten(0, 1)[tree.leaf], tree).to(ctx.dtype), None


class _Expand(torch.autograd.Function):
    """The leaf's token for each patch; backward, the sum by leaf."""

    @staticmethod
    def forward(ctx: _Context, leaves: Tensor, tree: Quadtree) -> Tensor:
        ctx.tree = tree
        return leaves.flatten(0, 1)[tree.leaf_of_patch]

    @staticmethod
    def backward(ctx: _Context, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (grad,), tree = grad_outputs, ctx.tree
        own = torch.where(tree.inside[:, None], grad[:, tree.source], 0)
        return _sum_leaves(own, tree).to(grad.dtype), None


def _sum_leaves(cells: Float[Tensor, "B C D"], tree: Quadtree) -> Float[Tensor, "G M D"]:
    """Sum cells in Morton order by leaf, up a pyramid whose nodes are runs of four."""
    pyramid = [_wide(cells).flatten(0, 1)]
    for _ in range(tree.root.bit_length() - 1):
        # by pairs, because equal tokens then sum without rounding
        pairs = pyramid[-1][0::2] + pyramid[-1][1::2]
        pyramid.append(pairs[0::2] + pairs[1::2])
    return torch.cat(pyramid)[tree.node]


def _fold(cells: Float[Tensor, "B h w D"], tree: Quadtree) -> Float[Tensor, "B N D"]:
    """Add the cells beyond the border to the patches that they repeat."""
    rows, columns = tree.rows, tree.columns
    if cells.shape[1] > rows:
        last = cells[:, rows - 1 :].sum(dim=1, keepdim=True)
        cells = torch.cat([cells[:, : rows - 1], last], dim=1)
    if cells.shape[2] > columns and tree.periodic:
        cells = F.pad(cells, (0, 0, 0, -cells.shape[2] % columns))
        cells = cells.unflatten(2, (-1, columns)).sum(dim=2)
    elif cells.shape[2] > columns:
        last = cells[:, :, columns - 1 :].sum(dim=2, keepdim=True)
        cells = torch.cat([cells[:, :, : columns - 1], last], dim=2)
    return cells.flatten(1, 2)


def _size(tree: Quadtree) -> Int[Tensor, "G M 1"]:
    """Return the cells of each leaf, a power of four: dividing by it does not round."""
    return 4 ** tree.level[..., None]


def _wide(tokens: Tensor) -> Tensor:
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32))
