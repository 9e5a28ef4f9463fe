"""Reading, computing and writing beside each other, and their errors."""

import sys
import threading
import time

import pytest

from orbitds.infer.pipeline import READ_AHEAD, TURN_S, WRITE_BEHIND, Spent, work
from orbitds.infer.units import Units

UNITS = Units(8, 1, 1, 1)


class Desk:
    """Notes what is done with units, and fails where it is told to."""

    def __init__(self, fails=None, seconds=0.0):
        self.fails, self.seconds = fails or {}, seconds
        self.seen = {"read": [], "compute": [], "write": []}
        self.threads = {}
        self.most = 0
        self.spent = Spent()

    def _do(self, what, number):
        time.sleep(self.seconds)
        self.threads.setdefault(what, set()).add(threading.get_ident())
        if self.fails.get((what, number)):
            raise self.fails[what, number]
        self.seen[what].append(number)
        self.most = max(self.most, len(self.seen["read"]) - len(self.seen["write"]))

    def read(self, unit):
        self._do("read", unit.number)
        return unit.number

    def compute(self, block, unit):
        assert block == unit.number
        self._do("compute", unit.number)
        return {"v": block}

    def write(self, unit, fields):
        assert fields == {"v": unit.number}
        self._do("write", unit.number)

    def work(self, units=UNITS, **how):
        told = {"stops": lambda: False, "failed": lambda *_: False, "report": lambda count: None}
        work(iter(units), self.read, self.compute, self.write, spent=self.spent, **(told | how))


def test_all_units_go_through_once_and_in_order():
    desk, counts = Desk(), []
    desk.work(report=counts.append)
    assert desk.seen["read"] == desk.seen["compute"] == list(range(8))
    assert sorted(desk.seen["write"]) == [unit.number for unit in desk.spent.done] == list(range(8))
    assert counts == list(range(1, 9))


def test_turns_at_the_interpreter_are_short_while_it_lasts():
    usual, seen = sys.getswitchinterval(), []
    Desk().work(report=lambda _: seen.append(sys.getswitchinterval()))
    assert max(seen) <= TURN_S * 1.01
    with pytest.raises(OSError, match="full"):
        Desk(fails={("write", 1): OSError("full")}).work()
    assert sys.getswitchinterval() == usual


def test_each_kind_of_work_has_its_threads_and_few_units_are_on_their_way():
    desk = Desk(seconds=0.02)
    started = time.monotonic()
    desk.work()
    took = time.monotonic() - started
    spent = desk.spent
    assert desk.threads["compute"] == {threading.get_ident()}
    assert len(desk.threads["read"]) == 1
    assert not desk.threads["read"] & desk.threads["write"]
    assert took < 0.8 * (spent.reading_s + spent.computing_s + spent.writing_s)
    assert desk.most <= READ_AHEAD + WRITE_BEHIND + 2


@pytest.mark.parametrize("what", ["read", "compute", "write"])
def test_an_error_ends_the_work_and_no_thread_stays(what):
    desk = Desk({(what, 3): OSError("disk trouble")})
    before = threading.active_count()
    with pytest.raises(OSError, match="disk trouble"):
        desk.work()
    assert threading.active_count() == before
    assert 3 not in desk.seen["write"]
    assert 7 not in desk.seen["write"]


def test_units_that_fail_are_left_out_where_that_is_wanted():
    heard = []

    def failed(unit, error):
        heard.append((unit.number, str(error)))
        return True

    desk = Desk({("read", 2): ValueError("bad"), ("compute", 5): ValueError("worse")})
    desk.work(failed=failed)
    assert heard == [(2, "bad"), (5, "worse")]
    assert sorted(desk.seen["write"]) == [0, 1, 3, 4, 6, 7]


def test_bugs_are_no_units_that_fail():
    desk = Desk({("compute", 2): AssertionError("a bug")})
    with pytest.raises(AssertionError, match="a bug"):
        desk.work(failed=lambda *_: True)


def test_it_stops_between_units_and_writes_what_is_computed():
    desk = Desk()
    desk.work(stops=lambda: len(desk.seen["compute"]) == 3)
    assert sorted(desk.seen["write"]) == [0, 1, 2]


def test_ctrl_c_drops_the_unit_at_hand():
    desk = Desk({("compute", 4): KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        desk.work()
    assert sorted(desk.seen["write"])[:2] == [0, 1]
    assert 4 not in desk.seen["write"]


def test_nothing_to_do():
    desk = Desk()
    desk.work([])
    assert desk.spent.done == []
