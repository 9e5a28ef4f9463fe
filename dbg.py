import sys, torch

sys.path.insert(0, "eval")
import bench_model as bm
from orbitds.model.residual import Correction
import torch.nn.functional as F

dev = torch.device("cuda")


def gib(x):
    return round(x / 2**30, 3)


# memory by stage
for v in (23, 200):
    step = bm.Step(bm.Case("memory", "reslim_9m_h128", bm.GLOBE, 4), dev, v)
    step()
    torch.cuda.synchronize()
    base = torch.cuda.memory_allocated()
    log = []

    def mark(name):
        torch.cuda.synchronize()
        log.append(
            (
                name,
                gib(torch.cuda.memory_allocated() - base),
                gib(torch.cuda.max_memory_allocated() - base),
            )
        )
        torch.cuda.reset_peak_memory_stats()

    torch.cuda.reset_peak_memory_stats()
    t = step.model.trunk
    hs = [
        t.aggregate.register_forward_hook(lambda *_: mark("aggregate fwd")),
        t.blocks[0].register_forward_hook(lambda *_: mark("block0 fwd")),
        t.register_forward_hook(lambda *_: mark("trunk fwd")),
        t.decode.register_full_backward_hook(lambda *_: mark("decode bwd")),
        t.blocks[0].register_full_backward_hook(lambda *_: mark("block0 bwd")),
    ]
    for p in step.model.parameters():
        p.grad = None
    loss = step._loss(step.model)
    mark("fwd")
    loss.backward()
    mark("bwd")
    print(v, "base", gib(base), *log, sep="\n  ")
    [h.remove() for h in hs]
    del step, loss
    torch.cuda.empty_cache()
# correction variants
x = torch.randn(4, 8, 720, 1440, device=dev)


class V(torch.nn.Module):
    def __init__(s, outs, fmt):
        super().__init__()
        s.c = Correction(8, outs, width=16, depth=1).to(dev)
        s.fmt = fmt

    def forward(s, x):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            f = x.contiguous(memory_format=s.fmt)
            *hidden, last = s.c.layers
            for l in hidden:
                f = F.gelu(l(bm_pad(f)))
            return last(bm_pad(f))[:, :3].float().square().mean()


from orbitds.interpolate import pad


def bm_pad(f):
    return pad(f, 1, True)


xs = x.clone().requires_grad_()
for name, outs, fmt in (
    ("nchw3", 3, torch.contiguous_format),
    ("nhwc3", 3, torch.channels_last),
    ("nhwc8", 8, torch.channels_last),
):
    torch.compiler.reset()
    m = V(outs, fmt)
    f = torch.compile(m, fullgraph=True)
    e = bm.median_ms(lambda: m(xs).backward())
    torch.cuda.reset_peak_memory_stats()
    b0 = torch.cuda.memory_allocated()
    c = bm.median_ms(lambda: f(xs).backward())
    print(
        name,
        "eager",
        round(e, 2),
        "compiled",
        round(c, 2),
        "peak",
        gib(torch.cuda.max_memory_allocated() - b0),
        flush=True,
    )
