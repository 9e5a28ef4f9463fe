"""How a run is carried out: what must fit together."""

import pytest

from orbitds.config_run import ParallelConfig


@pytest.mark.parametrize("axis", ["sequence", "channel", "tensor"])
def test_deepspeed_shares_weights_alone(axis):
    with pytest.raises(ValueError, match=rf"deepspeed.*got parallel.{axis} 2.*parallel.engine"):
        ParallelConfig(engine="deepspeed", **{axis: 2})


def test_deepspeed_adds_gradients_up_in_float32():
    with pytest.raises(ValueError, match=r"got parallel.reduce_dtype 'bfloat16'.*engine torch"):
        ParallelConfig(engine="deepspeed", reduce_dtype="bfloat16")
