import pytest
import torch

from orbitds.model.compiling import compiled


def test_one_graph_or_none():
    def breaks(x):
        torch._dynamo.graph_break()
        return 2 * x

    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(breaks)(torch.ones(3))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_values_and_gradients_are_those_of_the_function():
    def smooth(x):
        return torch.nn.functional.gelu(x[:, 1:] + x[:, :-1]).cumsum(1)

    fields = torch.randn(5, 1031, dtype=torch.float64, requires_grad=True)
    for one, other in zip(
        *(
            (out := call(fields), torch.autograd.grad(out.square().sum(), fields)[0])
            for call in (smooth, compiled(smooth))
        ),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
