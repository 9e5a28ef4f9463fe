"""The table put together of what was found of each variable."""

import numpy as np

from orbitds.eval.assemble import REFERENCES, found_of, table_of
from orbitds.eval.evaluate import prepare
from orbitds.eval.metric import METRICS
from tests.eval.test_evaluate import rainy


def test_found_values_stand_where_their_names_are():
    evaluation = prepare(*rainy(40))
    found = [
        found_of(label, scores)
        for name in evaluation.sides.names
        for label, scores in evaluation.scores(name).items()
    ]
    table = table_of(found, evaluation)
    for one in found:
        row = table.sel(variable=one.name)
        for metric, values in one.scalars.items():
            for place, kind in enumerate(("value", "low", "high")):
                got = row[kind].sel(metric=metric).values
                np.testing.assert_array_equal(got, values[place], err_msg=metric)
        np.testing.assert_array_equal(row["spectrum"][0], one.spectra[1])
        np.testing.assert_array_equal(row["quantile_truth"], one.quantiles[0])
    known = {metric for one in found for metric in one.scalars}
    assert known <= set(METRICS)
    assert set(REFERENCES) <= set(METRICS)
    # what needs coarse data, tiles, members, or daily extremes of temperature
    absent = {"consistency_rmse", "block_index", "seam_index", "crps", "spread_skill", "skill",
              "skill_delta", "txx_bias", "txx_rmse", "tnn_bias", "tnn_rmse"}  # fmt: skip
    assert set(METRICS) - known == absent
