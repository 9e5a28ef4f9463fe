"""What a trace says of communication and what runs beside it."""

from scaling.trace import overlap


def _event(name, begin, length, cat="kernel"):
    return {"name": name, "ts": begin, "dur": length, "cat": cat}


def test_bare_communication_is_what_no_other_kernel_covers():
    events = [
        _event("gemm", 0, 1000),
        _event("gemm", 900, 300),  # to 1200, in another stream
        _event("ncclDevKernel_AllReduce", 1000, 1000),  # 1000 to 2000
        _event("Memcpy DtoD", 1500, 100, "gpu_memcpy"),
        _event("ncclDevKernel_AllGather", 1900, 300),  # to 2200
        _event("gemm", 2500, 100),
        {"name": "process_name", "ph": "M"},
        _event("nccl:all_reduce", 0, 9000, "gpu_user_annotation"),
        _event("aten::mm", 0, 9000, "cpu_op"),
    ]
    found = overlap(events)
    assert found.nccl == 1.2
    assert found.work == 1.4
    assert found.exposed == 0.9  # 1200 to 1500 and 1600 to 2200
    assert found.span == 2.6
    assert found.products == 1.3  # 0 to 1200, and 2500 to 2600


def test_a_trace_without_communication():
    assert overlap([_event("gemm", 0, 500)]) == (0, 0, 0.5, 0.5, 0.5)


def test_nothing_at_work_takes_no_time():
    assert overlap([_event("aten::mm", 0, 9000, "cpu_op")]) == (0, 0, 0, 0, 0)
