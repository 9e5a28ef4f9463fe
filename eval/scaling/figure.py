"""Predicted efficiencies drawn over the number of GPUs, beside what is measured and published."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from scaling.network import Network
from scaling.predict import Prediction

COLOURS = {"9.5M": "#0072b2", "126M": "#009e73", "1B": "#d55e00", "10B": "#8a4fa3"}
# Efficiency and GPUs of ORBIT-2 (Wang et al. 2025, arXiv 2505.04802, first version).
PUBLISHED, PUBLISHED_TO = (0.92, 0.98), 32768
WANTED = 0.92


def draw(predictions: Mapping[Network, Sequence[Prediction]], path: Path) -> None:
    """Draw a panel for each machine; of each size the better of its ways."""
    figure, axes = plt.subplots(
        1, len(predictions), figsize=(11, 4.6), sharey=True, layout="constrained", squeeze=False
    )
    for axis, (network, found) in zip(axes[0], predictions.items(), strict=True):
        low, high = PUBLISHED
        axis.fill_between(
            [8, PUBLISHED_TO], low, high, color="0.85", label="ORBIT-2, published (strong scaling)"
        )
        for size, colour in COLOURS.items():
            best = _best([one for one in found if one.size == size])
            counts = [one.processes for one in best]
            if not counts:
                continue
            bounds = [one.low for one in best], [one.high for one in best]
            axis.fill_between(counts, *bounds, color=colour, alpha=0.18, linewidth=0)
            for bound in bounds:
                axis.plot(counts, bound, color=colour, linewidth=1.2)
            axis.plot([], [], color=colour, linewidth=5, alpha=0.4, label=f"{size}, predicted")
            seen = [one for one in found if one.size == size and one.measured is not None]
            if seen and size != "10B":  # what it takes alone is itself derived from two GPUs
                axis.plot(
                    [one.processes for one in seen],
                    [one.measured for one in seen],
                    linestyle="none",
                    marker="o",
                    markersize=5,
                    color=colour,
                    markeredgecolor="black",
                )
        axis.axhline(WANTED, color="black", linewidth=0.8, linestyle=":")
        axis.set(xscale="log", xlabel="GPUs", title=network.name, ylim=(0.7, 1.01))
        axis.set_xticks([2, 8, 64, 512, 4096, 32768], ["2", "8", "64", "512", "4,096", "32,768"])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].plot(
        [], [], linestyle="none", marker="o", color="white", markeredgecolor="black",
        label="measured on two H200",
    )  # fmt: skip
    axes[0, 0].set_ylabel("efficiency, a tile and its samples a GPU")
    axes[0, 0].legend(loc="lower left", fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _best(found: Sequence[Prediction]) -> list[Prediction]:
    """Return of each number of GPUs the way that is best at its lower bound."""
    counts = sorted({one.processes for one in found})
    return [
        max((one for one in found if one.processes == count), key=lambda one: one.low)
        for count in counts
    ]
