"""Parts of factors: one has plain names, several are told apart by their factor."""

from torch import nn

from orbitds.model.heads import for_factors, of_factor


def test_the_part_of_one_factor_is_the_part_itself():
    part = for_factors([3], lambda factor: nn.Linear(factor, 1))
    assert set(part.state_dict()) == {"weight", "bias"}
    assert of_factor(part, 3) is part


def test_parts_of_several_factors_are_told_apart():
    parts = for_factors([4, 2], lambda factor: nn.Linear(factor, 1, bias=False))
    assert list(parts.state_dict()) == ["4.weight", "2.weight"]
    for factor in (2, 4):
        assert of_factor(parts, factor).weight.shape == (1, factor)
