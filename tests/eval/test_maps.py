"""Maps: where cells land, which colours they get, which numbers stand above them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from orbitds.eval import maps
from orbitds.grid import Grid
from orbitds.resources import share


def field(rows, columns, *, west=0.0, width=360.0, south=-90.0, north=90.0, values=None, **attrs):
    height, step = (north - south) / rows, width / columns
    latitude = north - height * (np.arange(rows) + 0.5)
    longitude = west + step * (np.arange(columns) + 0.5)
    if values is None:
        values = 280 + 20 * np.cos(np.deg2rad(latitude))[:, None] + np.sin(np.deg2rad(longitude))
    coords = {"latitude": latitude, "longitude": longitude}
    return xr.DataArray(values, dims=("latitude", "longitude"), coords=coords, attrs=attrs)


@pytest.fixture
def figures(monkeypatch, tmp_path):
    """Figures in the order of their saving; cartopy finds no network and an empty cache."""
    cartopy = pytest.importorskip("cartopy")
    figure = pytest.importorskip("matplotlib.figure")

    def offline(*_, **__):
        raise OSError("a map asked for the network")

    monkeypatch.setattr("socket.socket.connect", offline)
    monkeypatch.setattr("socket.getaddrinfo", offline)
    monkeypatch.setitem(cartopy.config, "data_dir", tmp_path / "cache")
    drawn, save = [], figure.Figure.savefig

    def keep(self, *args, **kwargs):
        drawn.append(self)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(figure.Figure, "savefig", keep)
    return drawn


def panels(figure):
    return [axes for axes in figure.axes if axes.get_title()]


def marks(axes):
    """Labels of the meridians and of the parallels."""
    return tuple(
        [label.get_text() for label in axis.get_ticklabels()] for axis in (axes.xaxis, axes.yaxis)
    )


def pixels(figure, axes):
    """Colours, 0-255, inside each of the panels, without their frames."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[::-1, :, :3]
    boxes = [panel.get_window_extent().extents.round().astype(int) for panel in axes]
    return [image[south + 4 : north - 4, west + 4 : east - 4] for west, south, east, north in boxes]


def blank(figure):
    """Share of each panel's pixels that show the grey behind missing cells."""
    inside = pixels(figure, panels(figure))
    return [float((colours == round(0.85 * 255)).all(-1).mean()) for colours in inside]


# --- numbers ------------------------------------------------------------------------------------


def test_moments_are_weighted_by_area_and_skip_gaps():
    rng = np.random.default_rng(3)
    error = field(12, 20, values=rng.normal(0.3, 1, (12, 20)))
    error[2, 3:9] = np.nan
    weight = np.cos(np.deg2rad(error["latitude"].values))[:, None] * np.isfinite(error.values)
    filled = np.nan_to_num(error.values)
    mean, rms = maps.moments(error)
    assert mean == pytest.approx((weight * filled).sum() / weight.sum(), rel=1e-12)
    assert rms == pytest.approx(np.sqrt((weight * filled**2).sum() / weight.sum()), rel=1e-12)


def test_moments_of_nothing_are_nan():
    assert np.isnan(maps.moments(field(4, 6, values=np.full((4, 6), np.nan)))).all()


@pytest.mark.parametrize(
    ("low", "high", "cmap", "vmin", "vmax"),
    [
        (-8.0, 12.0, "RdBu_r", -11.9, 11.9),  # wind: about 0
        (0.0, 40.0, "YlGnBu", 0.0, 39.8),  # precipitation: from 0
        (250.0, 310.0, "YlOrRd", 250.3, 309.7),  # temperature: free
        (-50.0, 5000.0, "YlOrRd", -24.75, 4974.75),  # relief: its few negatives do not count
    ],
)
def test_colours_follow_the_field(low, high, cmap, vmin, vmax):
    values = np.linspace(low, high, 10 * 2001).reshape(10, 2001)
    colours = maps.field_colours(field(10, 2001, values=values))
    assert colours["cmap"] == cmap
    np.testing.assert_allclose([colours["vmin"], colours["vmax"]], [vmin, vmax], atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 7.0, -7.0, np.nan])
def test_colours_of_a_constant_have_a_range(value):
    constant = field(4, 6, values=np.full((4, 6), value))
    for colours in (maps.field_colours(constant), maps.error_colours([constant])):
        assert colours["vmin"] < colours["vmax"]


def test_errors_share_one_symmetric_range():
    small, large = (field(4, 50, values=np.full((4, 50), v)) for v in (0.1, -3.0))
    colours = maps.error_colours([small, large])
    assert (colours["vmin"], colours["vmax"]) == (-3.0, 3.0)


# --- places -------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [20, 48, 144])
@pytest.mark.parametrize("first_edge", [-181.25, -180.0, -1.25, 0.0, 18.75])
def test_a_global_grid_fills_the_map_without_a_gap(columns, first_edge):
    grid = Grid.of(field(12, columns, west=first_edge))
    edges, number = maps.columns_from(-180.0, grid)
    assert edges[0] <= -180
    assert edges[-1] >= 180
    assert set(number) == set(range(columns))
    np.testing.assert_allclose(np.diff(edges), 360 / columns)
    centres = (edges[1:] + edges[:-1]) / 2
    away = (centres - grid.longitude_deg[number] + 180) % 360 - 180
    np.testing.assert_allclose(away, 0, atol=1e-9)


@pytest.mark.parametrize("turn", [-360, 0, 360])
def test_a_region_moves_by_whole_turns(turn):
    grid = Grid.of(field(6, 8, west=170.0 + turn, width=20, south=10, north=25))
    edges, number = maps.columns_from(170.0, grid)
    np.testing.assert_allclose(edges, np.linspace(170, 190, 9))
    np.testing.assert_array_equal(number, np.arange(8))


# --- drawings -----------------------------------------------------------------------------------


def test_four_maps_share_their_colours_and_tell_the_error(figures, tmp_path):
    told = {"units": "m s-1", "long_name": "wind"}
    coarse, truth = ((field(n, 2 * n, west=-1.25) - 290).assign_attrs(told) for n in (12, 36))
    truth = truth.assign_coords(time=np.datetime64("1992-07-01"))
    prediction = (truth + 0.5).assign_attrs(told)
    maps.draw_maps(coarse, prediction, truth, tmp_path / "new" / "maps.png")

    assert (tmp_path / "new" / "maps.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "cache").exists()
    (figure,) = figures
    first, second, third, error = panels(figure)
    assert figure.get_suptitle() == "wind, 1992-07-01"
    assert first.get_title() == "coarse, 12 x 24 cells"
    assert error.get_title() == "prediction minus truth\nRMSE 0.500, mean +0.500 m s$^{-1}$"
    limits = [axes.collections[0].get_clim() for axes in (first, second, third)]
    assert limits[0] == limits[1] == limits[2]
    assert limits[0][0] == -limits[0][1]
    assert error.collections[0].get_clim() == pytest.approx((-0.5, 0.5))
    assert [axes.collections[0].get_cmap().name for axes in (third, error)] == ["RdBu_r", "PuOr_r"]
    for axes in panels(figure):
        assert marks(axes) == (
            ["120°W", "60°W", "0°", "60°E", "120°E"],
            ["60°S", "30°S", "0°", "30°N", "60°N"],
        )
    bars = [axes.child_axes[0].get_ylabel() for axes in panels(figure)]
    assert bars == ["m s$^{-1}$"] * 4


@pytest.mark.parametrize("first_edge", [-1.25, 0.0, -178.75])
def test_no_seam_is_left_blank(figures, tmp_path, first_edge):
    truth = field(18, 36, west=first_edge)
    coarse = field(6, 12, west=first_edge)
    maps.draw_maps(coarse, truth + 1, truth, tmp_path / "maps.png")
    assert blank(figures[0]) == [0, 0, 0, 0]


def test_missing_cells_show_the_background(figures, tmp_path):
    truth = field(18, 36)
    truth[:9] = np.nan
    maps.draw_maps(field(6, 12), field(18, 36), truth, tmp_path / "maps.png")
    shares = blank(figures[0])
    assert shares[:2] == [0, 0]
    # Half the map, less coastlines and grid lines.
    assert 0.35 < shares[2] < 0.5
    assert 0.35 < shares[3] < 0.5


def test_a_region_across_the_date_line_is_one_map(figures, tmp_path):
    from cartopy.crs import PlateCarree

    region = {"west": 165.0, "width": 30, "south": 40, "north": 70}
    truth = field(24, 24, **region)
    # The same cells, a whole turn away.
    prediction = field(24, 24, **(region | {"west": -195.0}), values=truth.values)
    maps.draw_maps(field(6, 6, **region), prediction, truth, tmp_path / "maps.png")
    for axes in panels(figures[0]):
        assert axes.get_xlim() == pytest.approx((-15, 15))
        assert axes.get_ylim() == pytest.approx((40, 70))
        middle = axes.projection.transform_point(-180, 55, PlateCarree())
        assert middle == pytest.approx((0, 55), abs=1e-9)
        assert axes.get_aspect() == pytest.approx(1 / np.cos(np.deg2rad(55)))
        assert marks(axes) == (
            ["170°E", "175°E", "180°", "175°W", "170°W"],
            ["45°N", "50°N", "55°N", "60°N", "65°N"],
        )
    assert blank(figures[0]) == [0, 0, 0, 0]
    assert "RMSE 0.0" in panels(figures[0])[-1].get_title()


def test_bias_has_one_panel_a_method_on_one_scale(figures, tmp_path):
    bias = {
        name: field(12, 24, values=np.full((12, 24), value), units="K", long_name="temperature")
        for name, value in {"bilinear": -2.0, "bicubic": 1.0, "reslim": 0.25}.items()
    }
    maps.draw_bias(bias, tmp_path / "bias.png", title="over 1991-1992")
    (figure,) = figures
    assert [axes.get_title() for axes in panels(figure)] == [
        "bilinear\nRMS 2.00, mean -2.00 K",
        "bicubic\nRMS 1.00, mean +1.00 K",
        "reslim\nRMS 0.250, mean +0.250 K",
    ]
    assert {axes.collections[0].get_clim() for axes in panels(figure)} == {(-2.0, 2.0)}
    assert figure.get_suptitle() == "over 1991-1992"


def test_plain_cartopy_coastlines_need_no_network(figures, monkeypatch, tmp_path):
    cartopy = pytest.importorskip("cartopy")
    from cartopy.crs import PlateCarree
    from matplotlib.figure import Figure

    monkeypatch.setitem(
        cartopy.config, "pre_existing_data_dir", share("data_catalog/files/cartopy")
    )
    figure = Figure()
    axes: Any = figure.add_subplot(projection=PlateCarree())
    axes.coastlines(resolution="110m")
    axes.set_global()
    figure.savefig(tmp_path / "coast.png")
    (inside,) = pixels(figure, [axes])
    dark = (inside < 100).all(-1).mean()
    assert 0.01 < dark < 0.2
    assert not (tmp_path / "cache").exists()


# --- errors -------------------------------------------------------------------------------------


def test_grids_must_match():
    truth = field(12, 24)
    with pytest.raises(ValueError, match="prediction and truth on one grid"):
        maps.draw_maps(field(6, 12), field(6, 12), truth, Path("never.png"))


def test_a_field_must_be_a_map():
    truth = field(12, 24)
    with pytest.raises(ValueError, match="Wanted truth with dimensions"):
        maps.draw_maps(field(6, 12), truth, truth.expand_dims("time"), Path("never.png"))
    with pytest.raises(ValueError, match="Select one time"):
        maps.draw_bias({"reslim": truth.expand_dims("time")}, Path("never.png"))


def test_bias_needs_a_method():
    with pytest.raises(ValueError, match="at least one method"):
        maps.draw_bias({}, Path("never.png"))


def test_missing_cartopy_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cartopy.crs", None)
    truth = field(12, 24)
    with pytest.raises(ImportError, match=r"pip install orbitds\[maps\]"):
        maps.draw_maps(field(6, 12), truth, truth, Path("never.png"))


def test_importing_maps_is_cheap():
    code = (
        "import sys, orbitds.eval.maps; "
        "sys.exit(any(name in sys.modules for name in ('matplotlib', 'cartopy', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
