"""Draw the leaves that compression makes of a real field: ``python eval/quadtree_figure.py``."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

import orbitds
from orbitds.model.edges import count_edges, edges_of
from orbitds.model.quadtree import Quadtree, build_quadtree

TARGET = Path(__file__).parent / "figures" / "quadtree.png"
DATASET, VARIABLE, MONTH = "fnoc_navy_winds_2p5deg", "eastward_wind", "1991-01"
# A patch a cell, because a field of 72 x 144 cells has few; models use 2 x 2.
PATCH = 1
RATIOS = (4.0, 16.0)


def main() -> None:
    """Draw field, edges and the leaves at both ratios."""
    field = orbitds.open_dataset(DATASET)[VARIABLE].sel(time=MONTH).squeeze().load()
    image = torch.from_numpy(field.values)[None]
    edges = edges_of((image - image.mean()) / image.std(), periodic=True)
    figure, axes = plt.subplots(2, 2, figsize=(11, 5.4), layout="constrained")
    limit = float(np.abs(field.values).max())
    look = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    shown = axes[0, 0].imshow(field.values, **look)
    axes[0, 0].set_title(f"Eastward wind, January 1991, {field.shape[0]} x {field.shape[1]} cells")
    axes[0, 1].imshow(edges[0], cmap="Greys", vmax=1.3, interpolation="nearest")
    axes[0, 1].set_title(f"Edges: {100 * float(edges.float().mean()):.0f} % of the cells")
    counts = count_edges(edges, PATCH)
    for axis, ratio in zip(axes[1], RATIOS, strict=True):
        tree = build_quadtree(counts, patch=PATCH, ratio=ratio, periodic=True)
        axis.imshow(leaf_means(field.values, tree), **look)
        outline(axis, tree)
        axis.set_title(f"{ratio:.0f}x: {tree.level.shape[1]:,} leaves, each with its mean")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, shrink=0.7, label="m/s", aspect=30, pad=0.01)
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=110)
    print(TARGET)


def leaf_means(field: np.ndarray, tree: Quadtree) -> np.ndarray:
    """Return the field with the mean of its leaf in each cell."""
    leaf = tree.leaf_of_patch[0].numpy()
    means = np.bincount(leaf, field.ravel()) / np.maximum(np.bincount(leaf), 1)
    return means[leaf].reshape(field.shape)


def outline(axis: Axes, tree: Quadtree) -> None:
    """Draw the borders of the leaves, as far as they lie in the field."""
    edges = 2.0 ** tree.level[0].numpy()
    corners = tree.centre[0].numpy() - edges[:, None] / 2
    boxes = [Rectangle((x, y), edge, edge) for (y, x), edge in zip(corners, edges, strict=True)]
    axis.add_collection(
        PatchCollection(boxes, facecolor="none", edgecolor="black", linewidth=0.3, alpha=0.7)
    )
    axis.set(xlim=(-0.5, tree.columns - 0.5), ylim=(tree.rows - 0.5, -0.5))


if __name__ == "__main__":
    main()
