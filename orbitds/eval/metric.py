"""Which scalar metrics there are, and what each means."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One scalar metric, as a table and its reader need it."""

    title: str
    """Heading of a column."""
    unit: Literal["variable", "1", "dB"]
    """Unit: that of the variable, none, or decibel."""
    digits: int
    """Digits after the point; in the variable's unit, those of values of order 1 to 300."""
    better: Literal["lower", "higher", "zero", "one"]
    """Which values are good: the lowest, the highest, the nearest to zero or to one."""
    group: Literal["error", "tail", "structure", "rain", "extreme", "ensemble", "consistency"]
    """Which metrics stand together."""
    meaning: str
    """Definition in one line."""


METRICS = {
    "rmse": Metric("RMSE", "variable", 3, "lower", "error", "root of the mean squared error"),
    "mae": Metric("MAE", "variable", 3, "lower", "error", "mean absolute error"),
    "bias": Metric("bias", "variable", 3, "zero", "error", "mean of prediction minus truth"),
    "r2": Metric(
        "R2", "1", 4, "higher", "error", "1 - SSE / SST, SST about the mean over space and time"
    ),
    "r2_anomaly": Metric(
        "anomaly R2", "1", 4, "higher", "error", "1 - SSE / SST, SST about each cell's own mean"
    ),
    "pearson": Metric(
        "Pearson", "1", 4, "higher", "error", "correlation with the truth in space and time"
    ),
    "skill": Metric(
        "skill", "1", 4, "higher", "error", "1 - MSE / MSE of bilinear interpolation"
    ),
    "skill_delta": Metric(
        "skill on delta", "1", 4, "higher", "error", "1 - MSE / MSE of delta change"
    ),
    "psnr": Metric(
        "PSNR", "dB", 2, "higher", "structure", "peak signal-to-noise ratio, of the fixed range"
    ),
    "ssim": Metric(
        "SSIM", "1", 4, "higher", "structure",
        "structural similarity in windows of 7 x 7 cells, or as stated",
    ),
    "spectral_distance": Metric(
        "spectral distance", "dB", 2, "lower", "structure",
        "root mean square of 10 log10 of the ratio of mean spectra, over wavenumbers",
    ),
    "rmse_above_68": Metric(
        "RMSE > p68", "variable", 3, "lower", "tail",
        "RMSE where the truth is above its 68th percentile"
    ),
    "rmse_above_95": Metric(
        "RMSE > p95", "variable", 3, "lower", "tail",
        "RMSE where the truth exceeds its 95th percentile"
    ),
    "rmse_above_99_7": Metric(
        "RMSE > p99.7", "variable", 3, "lower", "tail",
        "RMSE where the truth exceeds its 99.7th percentile",
    ),
    "quantile_bias_1": Metric(
        "bias of p1", "variable", 3, "zero", "tail", "1st percentile of prediction minus truth's"
    ),
    "quantile_bias_50": Metric(
        "bias of p50", "variable", 3, "zero", "tail", "median of prediction minus truth's"
    ),
    "quantile_bias_95": Metric(
        "bias of p95", "variable", 3, "zero", "tail", "95th percentile of prediction minus truth's"
    ),
    "quantile_bias_99": Metric(
        "bias of p99", "variable", 3, "zero", "tail", "99th percentile of prediction minus truth's"
    ),
    "quantile_bias_99_9": Metric(
        "bias of p99.9", "variable", 3, "zero", "tail",
        "99.9th percentile of prediction minus truth's"
    ),
    "wasserstein": Metric(
        "Wasserstein", "variable", 3, "lower", "tail",
        "distance of the two distributions of values over space and time (order 1)",
    ),
    "wet_day_frequency_bias": Metric(
        "bias of wet days", "1", 4, "zero", "rain",
        "share of cells and days with 1 mm or more, prediction minus truth",
    ),
    "wet_day_intensity_bias": Metric(
        "bias of intensity", "variable", 3, "zero", "rain",
        "mean amount of days with 1 mm or more, prediction minus truth",
    ),
    "fss_1mm_5": Metric(
        "FSS 1 mm, 5", "1", 4, "higher", "rain",
        "fractions skill score at 1 mm over 5 x 5 cells; 1 is perfect",
    ),
    "fss_1mm_15": Metric(
        "FSS 1 mm, 15", "1", 4, "higher", "rain", "fractions skill score at 1 mm over 15 x 15 cells"
    ),
    "fss_10mm_5": Metric(
        "FSS 10 mm, 5", "1", 4, "higher", "rain", "fractions skill score at 10 mm over 5 x 5 cells"
    ),
    "fss_10mm_15": Metric(
        "FSS 10 mm, 15", "1", 4, "higher", "rain",
        "fractions skill score at 10 mm over 15 x 15 cells"
    ),
    "rx1day_bias": Metric(
        "bias of Rx1day", "variable", 2, "zero", "extreme",
        "wettest day of each year and cell, prediction minus truth, mean over years and cells",
    ),
    "rx1day_rmse": Metric(
        "RMSE of Rx1day", "variable", 2, "lower", "extreme",
        "wettest day of each year and cell, root mean squared difference",
    ),
    "txx_bias": Metric(
        "bias of TXx", "variable", 3, "zero", "extreme",
        "highest daily maximum of each year and cell, prediction minus truth",
    ),
    "txx_rmse": Metric(
        "RMSE of TXx", "variable", 3, "lower", "extreme",
        "highest daily maximum of each year and cell, root mean squared difference",
    ),
    "tnn_bias": Metric(
        "bias of TNn", "variable", 3, "zero", "extreme",
        "lowest daily minimum of each year and cell, prediction minus truth",
    ),
    "tnn_rmse": Metric(
        "RMSE of TNn", "variable", 3, "lower", "extreme",
        "lowest daily minimum of each year and cell, root mean squared difference",
    ),
    "crps": Metric(
        "CRPS", "variable", 3, "lower", "ensemble",
        "fair continuous ranked probability score of the members; of one prediction, it is the MAE",
    ),
    "spread_skill": Metric(
        "spread / skill", "1", 3, "one", "ensemble",
        "spread of the members over the RMSE of their mean, as many members as there are",
    ),
    "consistency_rmse": Metric(
        "consistency", "variable", 4, "lower", "consistency",
        "RMSE of the block means of the prediction against the coarse input",
    ),
    "block_index": Metric(
        "block index", "1", 3, "one", "consistency",
        "mean jump across borders of coarse cells over that elsewhere, relative to the truth's",
    ),
    "seam_index": Metric(
        "seam index", "1", 3, "one", "consistency",
        "mean jump across borders of tiles over that elsewhere, relative to the truth's",
    ),
}  # fmt: skip
"""All scalar metrics, in the order of a table."""
