import numpy as np

from orbitds.data.gaps import fill_gaps

N = np.nan


def test_takes_the_nearest_value():
    field = np.array([[1.0, N, N, N, N, 9.0], [N, N, N, N, N, N]])
    np.testing.assert_array_equal(fill_gaps(field), [[1, 1, 1, 9, 9, 9], [1, 1, 1, 9, 9, 9]])
    # across the date line the nearest value of the second column is still the first
    globe = np.array([[N, 5.0, N, N, N, N, 7.0]])
    assert fill_gaps(globe, periodic=True)[0, 0] in (5, 7)
    globe = np.array([[N, N, 5.0, N, N, N, 7.0]])
    assert fill_gaps(globe, periodic=False)[0, 0] == 5
    assert fill_gaps(globe, periodic=True)[0, 0] == 7


def test_values_stay_bit_for_bit_and_each_map_has_its_own_gaps():
    rng = np.random.default_rng(3)
    fields = rng.normal(size=(4, 3, 9, 13))
    gaps = rng.random(fields.shape) < 0.3
    fields[gaps] = N
    before = fields.copy()
    filled = fill_gaps(fields, periodic=True)
    np.testing.assert_array_equal(fields, before)  # the caller's array is the caller's
    np.testing.assert_array_equal(filled[~gaps], fields[~gaps])
    assert not np.isnan(filled).any()
    rows, columns = np.mgrid[:9, :13]
    for time, name, row, column in np.argwhere(gaps)[:200]:
        east = np.abs(columns - column)
        distance = np.hypot(rows - row, np.minimum(east, 13 - east))
        distance[gaps[time, name]] = np.inf
        nearest = fields[time, name][np.isclose(distance, distance.min())]
        assert filled[time, name, row, column] in nearest


def test_without_any_value_stays_missing():
    fields = np.full((2, 4, 5), N)
    fields[1] = 3
    filled = fill_gaps(fields)
    assert np.isnan(filled[0]).all()
    assert (filled[1] == 3).all()
