"""What is done to a model before training changes no number, only what is kept."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from orbitds.train import shard
from orbitds.train.shard import blocks_of, compile_blocks, recompute
from tests.conftest import told_of, untrained_for


def gradients(model, pair):
    """Return the gradients of a step and the bytes that it kept for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**told_of(pair)).square().sum()
    loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters()}, sum(kept.values())


def prepared(pair, how=None):
    model = untrained_for(pair, depth=3, width=32, dropout=0.1, drop_path=0.3).train()
    if how:
        recompute(model, how)
    return model


@pytest.mark.parametrize("how", ["selective", "full"])
def test_computed_again_gives_the_same_gradients(pair, how):
    plain, bytes_plain = gradients(prepared(pair), pair)
    got, bytes_kept = gradients(prepared(pair, how), pair)
    for name, gradient in plain.items():
        assert torch.equal(got[name], gradient), name
    assert bytes_kept < bytes_plain


def test_products_that_are_kept_are_not_computed_again(pair):
    products = {}
    for how in (None, "selective", "full"):
        model = prepared(pair, how)
        with FlopCounterMode(display=False) as counter:
            gradients(model, pair)
        products[how] = counter.get_total_flops()
    assert products[None] == products["selective"] < products["full"]


def test_names_of_weights_stay(pair):
    assert prepared(pair, "full").state_dict().keys() == prepared(pair).state_dict().keys()


@pytest.mark.slow
# the compiler looks whether the tokens that enter a block have a gradient
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own use of it
def test_compiled_blocks_agree(pair, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    plain, _ = gradients(untrained_for(pair), pair)
    model = untrained_for(pair)
    assert len(blocks_of(model)) == 1
    compile_blocks(model)
    for name, gradient in gradients(model, pair)[0].items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-4, atol=1e-5)


def test_blocks_are_gathered_in_runs(pair, monkeypatch):
    blocks = blocks_of(prepared(pair))
    size = sum(weight.nbytes for weight in blocks[0].parameters())
    for least, runs in ((0, [1, 1, 1]), (size, [1, 1, 1]), (size + 1, [2, 1]), (3 * size, [3])):
        monkeypatch.setattr(shard, "GATHER_BYTES", least)
        groups = shard.groups_of(blocks)
        assert [len(group) for group in groups] == runs
        assert [block for group in groups for block in group] == blocks


def test_large_models_are_gathered_twice(monkeypatch):
    monkeypatch.setattr(shard, "KEEP_BYTES", 800)
    assert shard.stays_whole(200, "float32")
    assert not shard.stays_whole(201, "float32")
    assert shard.stays_whole(400, "bfloat16")
    assert not shard.stays_whole(401, "bfloat16")
