"""Work in threads: in order, of little memory, and over at the first error."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from serq_mcu.base.parallel import in_threads, processors


def test_results_come_in_order_whichever_is_ready_first() -> None:
    second_is_ready = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_ready.wait(60)
        if item == 1:
            second_is_ready.set()
        return item * item

    assert list(in_threads(work, range(5), threads=2)) == [0, 1, 4, 9, 16]
    assert list(in_threads(work, [])) == []
    assert processors() >= 1


def test_items_are_taken_only_a_little_before_their_results() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = in_threads(str, items(), threads=3)
    assert [next(results), next(results)] == ["0", "1"]
    assert len(taken) == 5
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == 5


def test_an_error_comes_in_its_items_place_and_ends_the_work() -> None:
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        return 1 // (item - 3)

    results = in_threads(work, range(100), threads=1)
    assert [next(results) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(begun) <= 5
