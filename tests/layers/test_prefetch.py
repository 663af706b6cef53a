import gc
import os
import subprocess
import sys
import threading
import time

import pytest

from deconvnet.core.layers.prefetch import Prefetch


def square(number):
    return number * number


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


@pytest.fixture
def opened():
    """A maker of Prefetch objects that are closed after the test."""
    made = []

    def make(*args, **kwargs):
        made.append(Prefetch(*args, **kwargs))
        return made[-1]

    yield make
    for prefetch in made:
        prefetch.close()


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_items_come_in_order_whatever_the_number_of_workers(opened, workers):
    prefetch = opened(square, workers=workers, ahead=7)
    assert [prefetch.take(3) for _ in range(20)] == [[square(3 * i + k) for k in range(3)] for i in range(20)]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_first_item_is_the_one_asked_for(opened, workers):
    assert opened(square, first=100, workers=workers).take(2) == [10000, 10201]


def test_a_later_item_that_is_ready_sooner_waits_its_turn(opened):
    second_is_made = threading.Event()

    def make(number):
        if number == 0:
            assert second_is_made.wait(5)
        if number == 1:
            second_is_made.set()
        return number

    assert opened(make, workers=2).take(3) == [0, 1, 2]


def test_two_workers_work_at_the_same_time(opened):
    both = threading.Barrier(2, timeout=5)

    def make(number):
        if number < 2:
            both.wait()
        return number

    assert opened(make, workers=2).take(2) == [0, 1]


def test_items_are_made_before_they_are_asked_for_but_no_more_than_ahead(opened):
    begun = []

    def make(number):
        begun.append(number)
        return number

    prefetch = opened(make, workers=3, ahead=5)
    assert wait_until(lambda: len(begun) >= 5)
    time.sleep(0.05)  # room for a worker that would run on
    assert sorted(begun) == [0, 1, 2, 3, 4]
    prefetch.take(2)
    assert wait_until(lambda: len(begun) >= 7)
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("workers", [0, 3])
def test_an_error_appears_where_its_item_is_taken_and_each_time_it_is(opened, workers):
    def make(number):
        if number == 4:
            raise ValueError("item 4 is bad")
        return number

    prefetch = opened(make, workers=workers, ahead=6)
    assert prefetch.take(2) == [0, 1]
    for _ in range(2):
        with pytest.raises(ValueError, match="item 4 is bad"):
            prefetch.take(3)
    assert prefetch.take(2) == [2, 3]


@pytest.mark.parametrize("granted", [0, 1])
def test_where_the_system_gives_fewer_threads_those_do_and_none_is_said(monkeypatch, granted):
    really_start, started = threading.Thread.start, []

    def start(thread):
        if len(started) == granted:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        really_start(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    if not granted:
        with pytest.raises(MemoryError, match="no thread can be started to read ahead; workers: 0 does without"):
            Prefetch(str, workers=2)
        return
    prefetch = Prefetch(str, workers=2)
    assert prefetch.take(3) == ["0", "1", "2"]
    prefetch.close()


def test_taking_more_at_once_than_are_made_ahead_is_refused(opened):
    with pytest.raises(ValueError, match="cannot take 5 items at once where 4 are made ahead"):
        opened(square, workers=1, ahead=4).take(5)


def test_closing_ends_the_threads():
    before = set(threading.enumerate())
    prefetch = Prefetch(square, workers=4)
    prefetch.take(1)
    own = set(threading.enumerate()) - before
    assert len(own) == 4
    prefetch.close()
    assert not any(thread.is_alive() for thread in own)


def test_a_closed_prefetch_gives_nothing_more(opened):
    prefetch = opened(square, workers=1)
    prefetch.close()
    with pytest.raises(RuntimeError, match="closed"):
        prefetch.take(1)


def test_a_forgotten_prefetch_ends_its_threads():
    before = set(threading.enumerate())
    prefetch = Prefetch(square, workers=3)
    prefetch.take(1)
    own = set(threading.enumerate()) - before
    assert len(own) == 3
    del prefetch
    gc.collect()
    assert wait_until(lambda: not any(thread.is_alive() for thread in own))


@pytest.mark.parametrize("make, patience", [("busy", 20), ("stuck", 0.3)])
def test_a_process_ends_quietly_and_soon_with_open_threads(make, patience):
    code = f"""
import time, numpy, cv2
from deconvnet.core.layers import prefetch
prefetch._PATIENCE = {patience}
def busy(number):
    return cv2.resize(numpy.zeros((300, 300, 3), numpy.uint8), (299, 299))
def stuck(number):
    time.sleep(60 if number > 0 else 0)
kept = prefetch.Prefetch({make}, workers=2, ahead=10**6)
kept.take(1)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
