"""Predicted efficiencies drawn over the number of GPUs, beside what is measured and published."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from scaling.network import Network
from scaling.predict import Prediction

COLOURS = {
    "9.5M": "#0072b2",
    "126M": "#009e73",
    "1B": "#d55e00",
    "1B-batch4": "#e69f00",
    "10B": "#8a4fa3",
}
# Strong scaling of ORBIT-2 by GPUs: Wang et al. 2025, arXiv 2505.04802, first and last version.
PUBLISHED = {32768: (0.92, 0.98), 65536: (0.74, 0.98)}
WANTED = 0.92


def draw(predictions: Mapping[Network, Sequence[Prediction]], path: Path) -> None:
    """Draw a panel for each machine; of each size the better of its ways in float32."""
    figure, axes = plt.subplots(
        1, len(predictions), figsize=(11, 4.6), sharey=True, layout="constrained", squeeze=False
    )
    for axis, (network, found) in zip(axes[0], predictions.items(), strict=True):
        for count, (low, high) in PUBLISHED.items():
            axis.plot([count, count], [low, high], color="0.55", linewidth=6, solid_capstyle="butt")
        for size, colour in COLOURS.items():
            own = [one for one in found if one.size == size and not one.case.endswith("bf16")]
            best = _best(own)
            counts = [one.processes for one in best]
            if not counts:
                continue
            bounds = [one.low for one in best], [one.high for one in best]
            axis.fill_between(counts, *bounds, color=colour, alpha=0.1, linewidth=0)
            for bound, style in zip(bounds, ("--", "-"), strict=True):
                axis.plot(counts, bound, style, color=colour, linewidth=1.3)
            axis.plot([], [], color=colour, label=f"{size}, predicted")
            seen = [one for one in own if one.measured is not None]
            if seen:
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
    axes[0, 0].plot([], [], "k-", label="the loss of two GPUs stays")
    axes[0, 0].plot([], [], "k--", label="it grows as the latest of all is late")
    axes[0, 0].plot([], [], color="0.55", linewidth=6, label="ORBIT-2, published (strong scaling)")
    axes[0, 0].plot(
        [], [], linestyle="none", marker="o", color="white", markeredgecolor="black",
        label="measured",
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
