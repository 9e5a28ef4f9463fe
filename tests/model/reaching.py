"""How far a network without attention looks, measured."""

import torch


def measured(model):
    """Return the farthest coarse cell, of inputs and climatology, that a fine cell depends on.

    All weights are made positive and the change large, so that no maximum or rectifier hides it.
    """
    model = model.double().eval()
    generator = torch.Generator().manual_seed(91)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.rand(weight.shape, generator=generator) + 0.1)
            if weight.ndim > 1:
                weight /= weight[0].numel()
    guess, factor = model.reach_cells, model.factor
    size = 2 * guess + 10
    place = {
        "latitude_deg": torch.zeros(1, size).double(),
        "longitude_deg": torch.zeros(1, size).double(),
        "spacing_km": torch.ones(1, 2).double(),
    }
    coarse = torch.rand(1, len(model.inputs), size, size).double()
    known = torch.rand(1, len(model.outputs), size * factor, size * factor).double()
    means = torch.rand(1, len(model.outputs), size, size).double()
    farthest = 0
    # places of each alignment with the cells of lower levels
    for cell in range(guess + 1, guess + 1 + min(model.patch, 8)):
        changed, other = coarse.clone(), means.clone()
        changed[..., cell, cell] += 1e5
        other[..., cell, cell] -= 1e5
        with torch.no_grad():
            before = model(coarse, climatology=(known, means), **place)
            after = model(changed, climatology=(known, other), **place)
        reached = ((after - before).abs()[0, 0] > 1e-9).any(dim=1).nonzero().flatten() // factor
        farthest = max(farthest, cell - int(reached.min()), int(reached.max()) - cell)
    return farthest
