"""Attention: a weighted mean of the values, with the weights of the paper's formula."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch
from functorch.compile import make_boxed_func  # pyright: ignore[reportPrivateImportUsage]  public by its documentation
from jaxtyping import config
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses.fake_tensor import FakeTensorMode

from orbitds.model import attention
from orbitds.model.attention import _choose, attend, choose, has_flash_attn, prefer

B, HEADS, N, M, D = 2, 3, 5, 7, 4


@pytest.fixture
def sides():
    """Query, key and value in float64; fewer queries than keys."""
    generator = torch.Generator().manual_seed(1)
    shapes = (B, HEADS, N, D), (B, HEADS, M, D), (B, HEADS, M, D)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def reference(query, key, value):
    """Softmax written out, one query at a time."""
    rows = []
    for place in range(query.shape[2]):
        scores = (query[:, :, place, None, :] * key).sum(dim=-1) / math.sqrt(query.shape[-1])
        weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        rows.append((weights[..., None] * value).sum(dim=2))
    return torch.stack(rows, dim=2)


def test_a_constant_value_passes_through(sides):
    query, key, _ = sides
    value = torch.arange(1.0, D + 1, dtype=torch.float64).expand(B, HEADS, M, D)
    expected = value[:, :, :1].expand(B, HEADS, N, D)
    torch.testing.assert_close(attend(query, key, value), expected, rtol=0, atol=1e-14)


def test_order_of_the_keys_does_not_matter(sides):
    query, key, value = sides
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    shuffled = attend(query, key[:, :, order], value[:, :, order])
    torch.testing.assert_close(shuffled, attend(query, key, value), rtol=0, atol=1e-14)
    # keys without their values: the test would see a difference
    assert (attend(query, key[:, :, order], value) - shuffled).abs().max() > 0.1


def test_equals_the_formula_with_its_gradient(sides):
    sides = [side.requires_grad_() for side in sides]
    out, expected = attend(*sides), reference(*sides)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).double()
    for got, want in zip(
        torch.autograd.grad((out * direction).sum(), sides),
        torch.autograd.grad((expected * direction).sum(), sides),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


def test_large_scores_do_not_overflow(sides):
    query, key, value = sides
    out = attend(1e6 * query, key, value)
    best = (query @ key.mT).argmax(dim=-1)
    expected = value.gather(2, best[..., None].expand(-1, -1, -1, D))
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


# --- backends ---


def gradients(out, sides):
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out)
    return torch.autograd.grad((out * direction).sum(), sides)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize("backend", ["auto", "math", "flash"])
def test_each_backend_is_the_formula_with_its_gradient(sides, backend, dtype, atol):
    sides = [side.to(dtype).requires_grad_() for side in sides]
    with prefer(backend):
        out = attend(*sides)
        got = gradients(out, sides)
    expected = reference(*sides)
    torch.testing.assert_close(out, expected, rtol=0, atol=atol)
    for mine, theirs in zip(got, gradients(expected, sides), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("backend", ["efficient", "cudnn"])
@pytest.mark.parametrize("lengths", [None, (2, 3)])
def test_a_backend_that_cannot_run_here_fails(sides, backend, lengths):
    query = sides[0]
    with prefer(backend), pytest.raises(RuntimeError, match="No (viable|available)"):
        attend(query, query, query, lengths) if lengths is None else attend(
            query[:1], query[:1], query[:1], lengths
        )


def kernels_of(function, *arguments):
    """The operations that the profiler sees."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function(*arguments)
    return {event.key for event in profile.key_averages()}


FLASH, MATH = "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math"


def test_the_preferred_kernel_runs_while_the_context_lasts(sides):
    with prefer("math"):
        ran = kernels_of(attend, *sides)
        assert f"aten::{MATH}" in ran
        assert f"aten::{FLASH}" not in ran
        with prefer("flash"):
            ran = kernels_of(attend, *sides)
            assert f"aten::{FLASH}" in ran
            assert f"aten::{MATH}" not in ran
        assert f"aten::{MATH}" in kernels_of(attend, *sides)


@pytest.fixture
def unchecked(monkeypatch):
    """Our own words for wrong arguments, and functions that `torch.compile` can trace."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


def test_prefer_restores_the_choice_also_after_an_error(unchecked):
    assert attention._preferred == "auto"
    with prefer("math"):
        with pytest.raises(KeyError, match="on purpose"), prefer("flash"):
            raise KeyError("on purpose")
        assert attention._preferred == "math"
        with pytest.raises(ValueError, match="Wanted"), prefer("flesh"):
            pytest.fail("there is no such backend")
        assert attention._preferred == "math"
    assert attention._preferred == "auto"


@pytest.mark.parametrize(
    ("name", "near"), [("flashattn", "flash_attn"), ("cuddn", "cudnn"), ("efficiant", "efficient")]
)
def test_prefer_names_the_nearest_backend(unchecked, name, near):
    message = rf"Wanted an attention backend.*'flash'.*got '{name}'.*Did you mean '{near}'"
    with pytest.raises(ValueError, match=message), prefer(name):
        pytest.fail("there is no such backend")


# --- samples of unequal length ---


def ragged(lengths, seed=6):
    """Query, key and value of samples in a row."""
    generator = torch.Generator().manual_seed(seed)
    shape = 1, HEADS, sum(lengths), D
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]


def sample_by_sample(sides, lengths, attend=reference):
    parts = zip(*(side.split(lengths, dim=2) for side in sides), strict=True)
    return torch.cat([attend(*part) for part in parts], dim=2)


@pytest.mark.parametrize("backend", ["auto", "math", "flash"])
@pytest.mark.parametrize("lengths", [(4, 1, 7), (1,), (6,), (1, 1), (3, 5)])
def test_samples_in_a_row_attend_within_themselves(backend, lengths):
    sides = [side.requires_grad_() for side in ragged(lengths)]
    with prefer(backend):
        out = attend(*sides, lengths)
        got = gradients(out, sides)
    expected = sample_by_sample(sides, lengths)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    for mine, theirs in zip(got, gradients(expected, sides), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-13)


def test_a_sample_in_a_row_does_not_see_the_next():
    lengths, sides = (4, 1, 7), ragged((4, 1, 7))
    other = [side.clone() for side in sides]
    for side in other:
        side[:, :, 5:] += 1
    change = (attend(*other, lengths) - attend(*sides, lengths)).abs().amax(dim=(0, 1, 3))
    assert (change[:5] == 0).all()
    assert (change[5:] > 1e-3).all()


# --- flash-attn, which is not installed here ---


@pytest.fixture
def package(monkeypatch):
    """A stand-in for flash-attn, and what it was asked."""
    module, asked = ModuleType("flash_attn"), []
    module.__spec__ = ModuleSpec("flash_attn", None)

    def flash_attn_func(query, key, value):
        asked.append(("dense", tuple(query.shape), tuple(key.shape)))
        return reference(*(part.transpose(1, 2) for part in (query, key, value))).transpose(1, 2)

    def flash_attn_varlen_func(query, key, value, ends_q, ends_k, longest_q, longest_k):
        asked.append(("ragged", tuple(query.shape), tuple(key.shape)))
        asked.append((ends_q.tolist(), ends_k.tolist(), ends_q.dtype, longest_q, longest_k))
        parts = [part.transpose(0, 1)[None] for part in (query, key, value)]
        return sample_by_sample(parts, ends_q.diff().tolist())[0].transpose(0, 1)

    module.flash_attn_func = flash_attn_func
    module.flash_attn_varlen_func = flash_attn_varlen_func
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    return asked


def test_flash_attn_has_tokens_before_heads(sides, package):
    with prefer("flash_attn"):
        out = attend(*sides)
    assert package == [("dense", (B, N, HEADS, D), (B, M, HEADS, D))]
    torch.testing.assert_close(out, reference(*sides), rtol=0, atol=1e-13)


@pytest.mark.parametrize("lengths", [(4, 1, 7), (6,)])
def test_flash_attn_is_told_where_samples_end(package, lengths):
    sides = [side.requires_grad_() for side in ragged(lengths)]
    with prefer("flash_attn"):
        out = attend(*sides, lengths)
    row = sum(lengths), HEADS, D
    ends = [0, *(sum(lengths[: k + 1]) for k in range(len(lengths)))]
    assert package == [
        ("ragged", row, row),
        (ends, ends, torch.int32, max(lengths), max(lengths)),
    ]
    expected = sample_by_sample(sides, lengths)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    for mine, theirs in zip(gradients(out, sides), gradients(expected, sides), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("lengths", [None, (2, 3)])
def test_without_the_package_the_error_names_the_extra(sides, monkeypatch, lengths):
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert not has_flash_attn()
    query = sides[0][:1]
    with (
        prefer("flash_attn"),
        pytest.raises(ImportError, match=r"Wanted.*'flash_attn', got no .*orbitds\[flash\]"),
    ):
        attend(query, query, query, lengths)


# --- the choice ---


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine; what is left out is an H100 without flash-attn."""

    def pretend(*, major=9, hip=None, cudnn=True, installed=False):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (major, 0))
        monkeypatch.setattr(torch.version, "hip", hip)
        monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: cudnn)
        monkeypatch.setattr(attention, "has_flash_attn", lambda: installed)

    return pretend


@pytest.mark.parametrize(
    ("here", "fits", "wanted"),
    [
        ({}, True, "cudnn"),
        ({"installed": True}, True, "cudnn"),
        ({"major": 10}, True, "cudnn"),
        ({"cudnn": False}, True, "flash"),
        ({"cudnn": False, "installed": True}, True, "flash_attn"),
        ({"major": 8}, True, "flash"),
        ({"major": 8, "installed": True}, True, "flash_attn"),
        ({"major": 7}, True, "auto"),
        ({"major": 7, "installed": True}, True, "auto"),
        ({}, False, "auto"),
        ({"major": 8, "installed": True}, False, "auto"),
        ({"hip": "6.2"}, True, "auto"),
        ({"hip": "6.2", "installed": True}, True, "flash_attn"),
        ({"hip": "6.2", "installed": True}, False, "auto"),
    ],
)
def test_the_choice_on_each_machine(machine, here, fits, wanted):
    machine(**here)
    assert _choose(0, fits) == wanted


@pytest.mark.parametrize(
    ("dtype", "head", "wanted"),
    [
        (torch.bfloat16, 64, "cudnn"),
        (torch.float16, 256, "cudnn"),
        (torch.bfloat16, 8, "cudnn"),
        (torch.bfloat16, 264, "auto"),
        (torch.float32, 64, "auto"),
    ],
)
def test_the_choice_for_each_head(machine, dtype, head, wanted):
    machine()
    with FakeTensorMode():
        query = torch.empty(B, HEADS, N, head, dtype=dtype, device="cuda")
        assert choose(query) == wanted


def test_the_second_card_is_asked_about_itself(machine, monkeypatch):
    machine()
    majors = {0: 7, 1: 9}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (majors[device], 0))
    with FakeTensorMode():
        queries = [
            torch.empty(1, 1, N, 64, dtype=torch.float16, device=f"cuda:{k}") for k in (0, 1)
        ]
        assert [choose(query) for query in queries] == ["auto", "cudnn"]


def test_without_a_card_pytorch_chooses(sides):
    assert choose(sides[0]) == "auto"
    assert choose(sides[0].bfloat16()) == "auto"


# --- compiled ---


@pytest.mark.parametrize("with_gradient", [False, True])
@pytest.mark.parametrize("backend", ["math", "flash"])
def test_what_is_compiled_holds_the_preferred_kernel_and_no_other(
    sides, unchecked, backend, with_gradient
):
    seen = []

    def record(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return make_boxed_func(graph.forward)

    torch._dynamo.reset()
    sides = [side.requires_grad_(with_gradient) for side in sides]
    compiled = torch.compile(attend, fullgraph=True, backend=aot_autograd(fw_compiler=record))
    with prefer(backend):
        out = compiled(*sides)
    torch.testing.assert_close(out, reference(*sides), rtol=0, atol=1e-13)
    fused = [name for name in seen if "scaled_dot_product" in name or "attention" in name]
    plain = [name for name in seen if "softmax" in name]
    if backend == "flash":
        assert {name.split(".")[1] for name in fused} <= {FLASH, f"{FLASH}_backward"}
        assert f"aten.{FLASH}.default" in fused
        assert not plain
    else:
        assert not fused
        assert plain
    if with_gradient:
        for mine, theirs in zip(
            gradients(out, sides), gradients(reference(*sides), sides), strict=True
        ):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-13)


def test_another_preference_is_another_graph(sides, unchecked):
    seen = []

    def record(graph, _):
        seen.append([str(node.target) for node in graph.graph.nodes])
        return make_boxed_func(graph.forward)

    torch._dynamo.reset()
    compiled = torch.compile(attend, fullgraph=True, backend=aot_autograd(fw_compiler=record))
    for backend in ("math", "flash", "math"):
        with prefer(backend):
            compiled(*sides)
    assert [any(FLASH in name for name in graph) for graph in seen] == [False, True]


def test_threads_leave_the_settings_of_the_process_alone(monkeypatch):
    monkeypatch.setattr(attention, "_preferred", "math")
    enabled = torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.cudnn_sdp_enabled
    before = [is_enabled() for is_enabled in enabled]
    assert before == [True, True]
    side = torch.randn(1, 1, 2, 4)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: attend(side, side, side), range(2000)))
    finally:
        sys.setswitchinterval(interval)
    assert [is_enabled() for is_enabled in enabled] == before
