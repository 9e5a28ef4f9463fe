"""Regions: belts, boxes and polygons by their cells; holes, the date line, what is refused."""

import itertools
import json

import numpy as np
import pytest

from orbitds.data.statics import statics_for
from orbitds.eval.regions import BELTS, BOXES, inside, regions
from orbitds.grid import Grid


def globe(rows=36, columns=72):
    latitude = 90 - (np.arange(rows) + 0.5) * 180 / rows
    return Grid(latitude, (np.arange(columns) + 0.5) * 360 / columns)


def region(latitude=(58.5, 45.5), longitude=(-5.5, 20.5), step=1.0):
    rows = np.arange(latitude[0], latitude[1] - step / 2, -step)
    return Grid(rows, np.arange(longitude[0], longitude[1] + step / 2, step))


def square(west, south, east, north):
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def saved(tmp_path, geometry, properties=None, name="area.geojson"):
    feature = {"type": "Feature", "properties": properties, "geometry": geometry}
    path = tmp_path / name
    path.write_text(json.dumps(feature), encoding="utf-8")
    return str(path)


def test_usual_regions_are_those_with_some_cells_and_not_all():
    assert list(regions(globe())) == ["all", "land", "sea", *BELTS]
    assert list(regions(region())) == ["all", "land", "sea"]
    masks = regions(globe())
    assert masks["all"].all()
    assert (masks["land"] ^ masks["sea"]).all()
    assert masks["tropics"].any(axis=1).sum() == 8  # 5 degrees high, centres up to 17.5
    assert (
        masks["tropics"] | masks["northern extratropics"] | masks["southern extratropics"]
    ).all()


def test_land_is_where_half_of_a_cell_is():
    grid = region()
    share = statics_for(grid, ("land_sea_mask",))["land_sea_mask"].values
    masks = regions(grid, ["land"])
    np.testing.assert_array_equal(masks["land"], share >= 0.5)
    assert 0.3 < masks["land"].mean() < 0.95


def test_a_pole_row_belongs_to_its_belt():
    grid = Grid(np.linspace(90, -90, 37), np.arange(72) * 5.0)
    assert regions(grid)["arctic"][0].all()


def test_boxes_across_greenwich_and_the_date_line():
    masks = regions(globe(), ["europe", "north pacific"])
    grid = globe()
    columns = grid.longitude_deg[masks["europe"].any(axis=0)]
    assert columns.min() == 2.5
    assert columns[columns > 180].tolist() == [347.5, 352.5, 357.5]
    pacific = grid.longitude_deg[masks["north pacific"].any(axis=0)]
    assert (pacific.min(), pacific.max()) == (147.5, 227.5)
    assert all(south < north and west < east for south, north, west, east in BOXES.values())


def test_a_square_holds_the_centres_within_on_any_turn():
    for turn in (-360, 0, 360):
        grid = region()
        grid = Grid(grid.latitude_deg, grid.longitude_deg + turn)
        mask = inside(
            [np.array(square(0.0, 48.0, 5.0, 51.0))], grid.latitude_deg, grid.longitude_deg
        )
        expected = ((grid.latitude_deg > 48) & (grid.latitude_deg < 51))[:, None] & (
            (grid.longitude_deg - turn > 0) & (grid.longitude_deg - turn < 5)
        )
        np.testing.assert_array_equal(mask, expected)


def test_any_polygon_against_a_plain_ray():
    rng = np.random.default_rng(3)
    grid = globe()
    for _ in range(20):
        ring = np.stack([rng.uniform(30, 330, 9), rng.uniform(-80, 80, 9)], axis=1)
        ring = np.vstack([ring, ring[:1]])
        mask = inside([ring], grid.latitude_deg, grid.longitude_deg)
        for _ in range(50):
            i, j = rng.integers(36), rng.integers(72)
            x, y = grid.longitude_deg[j], grid.latitude_deg[i]
            odd = False
            for (x1, y1), (x2, y2) in itertools.pairwise(ring):
                if (y1 > y) != (y2 > y) and x > x1 + (y - y1) / (y2 - y1) * (x2 - x1):
                    odd = not odd
            assert mask[i, j] == odd


def test_a_vertex_on_a_row_counts_once():
    diamond = np.array([[100.0, 2.5], [110.0, 12.5], [120.0, 2.5], [110.0, -7.5], [100.0, 2.5]])
    mask = inside([diamond], globe().latitude_deg, globe().longitude_deg)
    row = mask[np.flatnonzero(globe().latitude_deg == 2.5)[0]]
    assert globe().longitude_deg[row].tolist() == [102.5, 107.5, 112.5, 117.5]
    assert not mask[globe().latitude_deg > 12.5].any()


def test_holes_and_several_polygons(tmp_path):
    geometry = {
        "type": "MultiPolygon",
        "coordinates": [
            [square(0, 46, 10, 56), square(2, 48, 6, 52)],
            [square(172, -50, 190, -30)],
        ],
    }
    path = saved(tmp_path, geometry, {"name": "two places"})
    mask = regions(globe(180, 360), [path])["two places"]
    grid = globe(180, 360)
    assert mask.sum() == 100 - 16 + 18 * 20
    row = mask[np.flatnonzero(grid.latitude_deg == -40.5)[0]]
    assert grid.longitude_deg[row].tolist() == list(np.arange(172.5, 190))


def test_west_of_greenwich_on_a_grid_from_0_to_360(tmp_path):
    path = saved(tmp_path, {"type": "Polygon", "coordinates": [square(-10, 40, 5, 50)]})
    mask = regions(globe(180, 360), [path])["area"]
    assert mask.sum() == 150


def test_names_of_features(tmp_path):
    polygon = {"type": "Polygon", "coordinates": [square(0, 46, 10, 56)]}
    collection = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {"NAME": "Alps"}, "geometry": polygon},
            {"type": "Feature", "properties": None, "geometry": polygon},
        ],
    }
    path = tmp_path / "borders.geojson"
    path.write_text(json.dumps(collection), encoding="utf-8")
    assert list(regions(globe(), [str(path), "tropics"])) == ["all", "Alps", "borders 2", "tropics"]


# --- errors ---


def test_unknown_names_are_told_the_nearest():
    with pytest.raises(ValueError, match=r"got 'tropic'.*tropics.*GeoJSON"):
        regions(globe(), ["tropic"])


def test_a_wanted_region_without_cells_is_refused():
    with pytest.raises(ValueError, match="'australia', which has none"):
        regions(region(), ["australia"])


def test_a_name_stands_once():
    with pytest.raises(ValueError, match="'land' twice"):
        regions(globe(), ["land", "land"])


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        '{"type": "Point", "coordinates": [1, 2]}',
        '{"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}',
        '{"type": "Polygon", "coordinates": [[[0, 0], [1, 100], [2, 0], [0, 0]]]}',
        '{"type": "Polygon", "coordinates": [[["a", 0], [1, 1], [2, 0], ["a", 0]]]}',
        '{"type": "Feature", "properties": {}, "geometry": null}',
    ],
)
def test_files_that_are_no_polygons_are_refused(tmp_path, text):
    path = tmp_path / "wrong.geojson"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"Wanted GeoJSON with polygons in .*wrong\.geojson"):
        regions(globe(), [str(path)])


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        regions(globe(), ["nowhere.geojson"])
