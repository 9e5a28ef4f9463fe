"""The decoder: a token paints its own block, and nothing but the rim of its neighbours'."""

import pytest
import torch

from orbitds.model.decode import Decoder

B, U, ROWS, COLUMNS, D, BLOCK = 2, 3, 5, 7, 6, 4


def decoder_of(patch=BLOCK, depth=2):
    """A decoder in float64 without zeros."""
    decoder = Decoder(D, U, depth=depth, patch=patch, zooms=(1,)).double()
    generator = torch.Generator().manual_seed(17)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return decoder


def tokens_of():
    generator = torch.Generator().manual_seed(18)
    return torch.randn(B, ROWS * COLUMNS, D, generator=generator, dtype=torch.float64)


def reference(decoder, tokens, *, periodic):
    """Paint cell by cell, then smooth cell by cell."""
    for layer in decoder.hidden[::2]:
        tokens = tokens @ layer.weight.T + layer.bias
        tokens = tokens * (1 + torch.erf(tokens / 2**0.5)) / 2
    painted = tokens @ decoder.paint.weight.T + decoder.paint.bias
    block = decoder.patch
    height, width = ROWS * block, COLUMNS * block
    fine = torch.zeros(B, U, height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            token = (i // block) * COLUMNS + j // block
            for u in range(U):
                fine[:, u, i, j] = painted[:, token, (u * block + i % block) * block + j % block]
    smooth = decoder.smooth.bias[None, :, None, None].expand(B, U, height, width).clone()
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            rows = (torch.arange(height) + di).clamp(0, height - 1)
            columns = torch.arange(width) + dj
            columns = columns % width if periodic else columns.clamp(0, width - 1)
            kernel = decoder.smooth.weight[:, :, di + 1, dj + 1]
            smooth += torch.einsum("uc,bcij->buij", kernel, fine[:, :, rows][..., columns])
    return smooth


def test_starts_at_zero_with_the_identity_behind_it():
    decoder = Decoder(D, U, depth=2, patch=BLOCK, zooms=(1,)).double()
    fine = decoder(tokens_of(), ROWS, zoom=1, periodic=False)
    assert fine.shape == (B, U, ROWS * BLOCK, COLUMNS * BLOCK)
    assert torch.equal(fine, torch.zeros_like(fine))
    field = torch.randn(B, U, 5, 7, generator=torch.Generator().manual_seed(19)).double()
    assert torch.equal(decoder.smooth(field), field[..., 1:-1, 1:-1])


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("row", "column"), [(2, 3), (0, 0), (4, 6)])
def test_a_token_changes_its_own_block_and_its_rim(row, column, periodic):
    decoder, tokens = decoder_of(), tokens_of()
    other = tokens.clone()
    other[1, row * COLUMNS + column] += 1
    change = decoder(other, ROWS, zoom=1, periodic=periodic) - decoder(
        tokens, ROWS, zoom=1, periodic=periodic
    )
    height, width = ROWS * BLOCK, COLUMNS * BLOCK
    rows = range(max(row * BLOCK - 1, 0), min((row + 1) * BLOCK + 1, height))
    columns = range(column * BLOCK - 1, (column + 1) * BLOCK + 1)
    columns = {j % width for j in columns} if periodic else set(columns) & set(range(width))
    expected = torch.zeros(height, width, dtype=torch.bool)
    expected[torch.tensor(list(rows))[:, None], torch.tensor(sorted(columns))] = True
    for u in range(U):
        assert torch.equal(change[1, u] != 0, expected)
    assert not change[0].any()


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("patch", "depth"), [(4, 2), (3, 1), (1, 0)])
def test_equals_the_explicit_loop(patch, depth, periodic):
    decoder, tokens = decoder_of(patch, depth), tokens_of()
    fine = decoder(tokens, ROWS, zoom=1, periodic=periodic)
    expected = reference(decoder, tokens, periodic=periodic)
    torch.testing.assert_close(fine, expected, rtol=0, atol=1e-12)
