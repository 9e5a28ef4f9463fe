"""Which processor to compute on."""

import torch


def choose_device(name: str | None = None) -> torch.device:
    """Return the device of a name such as ``cuda:1``; the first GPU, else the CPU, for ``auto``.

    Raises
    ------
    ValueError
        If there is no such device here.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()  # those of `meta` have no values to give back
    except (RuntimeError, AssertionError) as error:
        count = torch.cuda.device_count()
        raise ValueError(
            f"Wanted a device of this machine, got {name!r}; it has the CPU and {count} GPUs. "
            "Choose `cpu`, `cuda` (the first GPU), `cuda:1` (the second), or `auto`."
        ) from error
    return device
