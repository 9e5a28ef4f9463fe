"""Reports: accepted only if nothing is wrong, and plain enough for JSON."""

import json

from orbitds.data.report import Report, VariableCheck


def row(**others):
    return VariableCheck(name="2m_temperature", units="K", **others)


def test_a_report_is_accepted_if_nothing_is_wrong():
    assert Report(variables=(row(notes=("all values are 280 K",)),), notes=("x",)).is_accepted
    assert not Report(variables=(row(), row(problem="Wanted"))).is_accepted
    assert not Report(variables=(row(),), problems=("Wanted",)).is_accepted


def test_a_report_goes_to_json_and_back():
    report = Report(variables=(row(minimum=1.5, problem="Wanted"),))
    assert Report.model_validate(json.loads(report.model_dump_json())) == report
