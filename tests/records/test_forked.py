"""Work shared with forks is the work of one process, whatever happens to the forks."""

import os
import sys
import threading

import pytest

from sla_bench.records import forked
from sla_bench.records.forked import on_all_cores

HERE = os.getpid()


@pytest.fixture(autouse=True)
def three_cores_without_torch(monkeypatch):
    monkeypatch.setattr(forked, "usable_cores", lambda: 3)
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def with_process(number):
    return number, os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems fork nothing")
def test_results_come_in_order_from_several_processes():
    found = on_all_cores(with_process, range(100), each=10)
    assert [number for number, _ in found] == list(range(100))
    assert len({process for _, process in found}) == 3


def test_few_items_torch_and_threads_keep_the_work_here(monkeypatch):
    def processes(items, each=10):
        return {process for _, process in on_all_cores(with_process, range(items), each)}

    assert processes(19) == {HERE}
    assert on_all_cores(with_process, [], each=1) == []
    monkeypatch.setitem(sys.modules, "torch", object())
    assert processes(100) == {HERE}
    monkeypatch.delitem(sys.modules, "torch")
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert processes(100) == {HERE}
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("end", ["dies", "raises", "can't be sent"])
def test_the_share_of_a_fork_that_fails_is_done_here(end):
    def work(number):
        if os.getpid() != HERE and number == 50:
            if end == "dies":
                os._exit(9)
            if end == "raises":
                raise ValueError("in the fork")
            return lambda: None
        return with_process(number)

    found = on_all_cores(work, range(99), each=10)
    assert [number for number, _ in found] == list(range(99))
    assert found[50][1] == HERE


def test_an_error_of_the_work_is_raised_here():
    def work(number):
        if number == 50:
            raise ValueError("number 50")
        return number

    with pytest.raises(ValueError, match="number 50"):
        on_all_cores(work, range(99), each=10)
