"""The weights of ORBIT-2's public network under the names of ours."""

from collections.abc import Mapping

import torch
from torch import Tensor

from orbitds.model.block import rows_by_head
from orbitds.model.orbit2 import Orbit2Config

# What wrappers of training put into the names of weights.
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# Modules that changed nothing but their name; those of a block by their place in it.
MODULES = {"head": "head", "path2": "residual", "conv_out": "smooth", "spatial_embed": "resolution"}
BLOCK = {
    "norm1": "norm_attention",
    "attn.qkv": "query_key_value",
    "attn.proj": "project",
    "norm2": "norm_mlp",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
}


def translate(weights: Mapping[str, Tensor], config: Orbit2Config) -> dict[str, Tensor]:
    """Return published weights under our names, in float32; the static fields are not among them.

    Raises
    ------
    ValueError
        If weights are missing, left over, or of an architecture other than the config's.
    """
    theirs = {bare(name): tensor.float() for name, tensor in weights.items()}
    try:
        ours = _aggregation(theirs, config)
        ours["position"] = theirs.pop("pos_embed").squeeze(0)
        for name in ("weight", "bias"):
            ours[f"encoder.{config.depth}.{name}"] = theirs.pop(f"norm.{name}")
            for index in range(config.depth):
                rows = f"blocks.{index}.attn.qkv.{name}"
                theirs[rows] = rows_by_head(theirs[rows], config.heads)
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"Wanted the weights of ORBIT-2's Res_Slim_ViT with {len(config.variables)} variables, "
            f"got weights that lack or misshape {error}. Give the YAML file that belongs to the "
            "checkpoint."
        ) from error
    return ours | {_renamed(name): tensor for name, tensor in theirs.items()}


def bare(name: str) -> str:
    """Return the name of a weight without what wrappers of training put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _renamed(name: str) -> str:
    head, _, rest = name.partition(".")
    if head == "blocks":
        index, _, place = rest.partition(".")
        module, _, kind = place.rpartition(".")
        return f"encoder.{index}.{BLOCK.get(module, module)}.{kind}"
    return f"{MODULES[head]}.{rest}" if head in MODULES else name


def _aggregation(theirs: dict[str, Tensor], config: Orbit2Config) -> dict[str, Tensor]:
    """Take out what belongs to tokenising and aggregating the variables.

    Keys, values and queries have no bias there; the patch bias and the variable embedding are one
    here.
    """
    count, width = len(config.variables), config.width
    patches = [theirs.pop(f"token_embeds.{index}.proj.weight") for index in range(count)]
    biases = [theirs.pop(f"token_embeds.{index}.proj.bias") for index in range(count)]
    key, value = theirs.pop("var_agg.kv.weight").reshape(2, width, width)
    return {
        "aggregate.embed": torch.stack(patches).reshape(count, width, -1),
        "aggregate.bias": torch.stack(biases) + theirs.pop("var_embed").squeeze(0),
        "aggregate.query": theirs.pop("var_query").reshape(width),
        "aggregate.to_query.weight": theirs.pop("var_agg.q.weight"),
        "aggregate.to_query.bias": torch.zeros(width),
        "aggregate.to_key.weight": key,
        "aggregate.to_value.weight": value,
        "aggregate.to_value.bias": torch.zeros(width),
        "aggregate.project.weight": theirs.pop("var_agg.proj.weight"),
        "aggregate.project.bias": theirs.pop("var_agg.proj.bias"),
    }
