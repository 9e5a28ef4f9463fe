"""Units of a job: blocks of the output that are computed, written and noted as one."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Fine values of a unit, over all variables: as much as some of them in memory at once may take.
UNIT_BYTES = 2**28
# A band may hold so many times as much: the rows of tiles above and below it are computed for it
# too, so that a band of one row of tiles costs three.
BAND_UNITS = 16


@dataclass(frozen=True)
class Unit:
    """A block of the output: one shard of each variable."""

    number: int
    times: range
    """Times of the output."""
    rows: range
    """Coarse rows, in the order of the output; all columns belong to them."""


@dataclass(frozen=True)
class Units:
    """All units of an output: equal blocks of times, and of rows where a field is very large.

    They follow from sizes alone, so that every process of a job, and every restart, has the same.
    """

    times: int
    """Times of the output."""
    rows: int
    """Coarse rows."""
    block_times: int
    """Times of a unit; the last may have fewer."""
    block_rows: int
    """Coarse rows of a unit; the last may have fewer."""

    @property
    def bands(self) -> int:
        """Units that cover one time."""
        return -(-self.rows // self.block_rows)

    def __len__(self) -> int:
        return -(-self.times // self.block_times) * self.bands

    def __getitem__(self, number: int) -> Unit:
        if not 0 <= number < len(self):
            raise IndexError(number)
        block, band = divmod(number, self.bands)
        return Unit(
            number,
            _part(block, self.block_times, self.times),
            _part(band, self.block_rows, self.rows),
        )

    def __iter__(self) -> Iterator[Unit]:
        return (self[number] for number in range(len(self)))


def plan_units(times: int, row_bytes: int, edges: Sequence[int], budget: int) -> Units:
    """Return units whose fine values take at most a budget, where one time of the field does.

    Else they are bands of a few rows of tiles.

    Parameters
    ----------
    times
        Times of the output.
    row_bytes
        Fine values of one coarse row at one time, over all variables.
    edges
        Where the rows of tiles begin, from 0, and the number of rows: a field of one tile is not
        cut, since each part of it would take the whole tile to compute.
    """
    rows = edges[-1]
    fitting = budget // (rows * row_bytes)
    if fitting >= 1 or len(edges) == 2:
        return Units(times, rows, _equal(times, max(fitting, 1)), rows)
    tallest = max(later - edge for edge, later in itertools.pairwise(edges))
    most = max(BAND_UNITS * budget // row_bytes, tallest)
    return Units(times, rows, 1, _band(rows, edges, most))


def _band(rows: int, edges: Sequence[int], most: int) -> int:
    """Return rows of a band: whole rows of tiles if they are all as high, else equal parts."""
    whole = [edge for edge in edges[1:] if edge <= most and set(range(0, rows, edge)) <= set(edges)]
    return max(whole) if whole else _equal(rows, most)


def _equal(length: int, most: int) -> int:
    """Return the length of parts of at most so many, as equal as they can be."""
    return -(-length // -(-length // most))


def _part(place: int, size: int, length: int) -> range:
    return range(place * size, min((place + 1) * size, length))
