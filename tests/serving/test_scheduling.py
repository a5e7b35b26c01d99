"""Which windows are recognised next, and together: simulated with jobs of every kind."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.serving.scheduling import UNLIKE, UNLIKE_S, FairQueue, Window

BATCH_S, TURN_S = 60.0, 20.0


def windows(*seconds: float) -> Iterator[Window]:
    return (Window(length, place) for place, length in enumerate(seconds))


def names(batch: list) -> list:
    return [name for name, _ in batch]


@pytest.fixture
def jobs() -> FairQueue:
    return FairQueue()


def test_a_short_job_is_not_behind_the_windows_of_a_long_one(jobs: FairQueue) -> None:
    jobs.add("long", windows(*[20.0] * 100))
    assert names(jobs.take(BATCH_S, TURN_S)) == ["long"]
    jobs.add("short", windows(3.0))
    assert names(jobs.take(BATCH_S, TURN_S)) == ["short"]


def test_a_long_job_has_its_share_in_a_flood_of_short_ones(jobs: FairQueue) -> None:
    jobs.add("long", windows(*[20.0] * 1000))
    served, seconds = Counter(), 0.0
    for batch in range(400):
        for place in range(16 - len(jobs) + 1):
            jobs.add(("short", batch, place), windows(3.0))
        for name, window in jobs.take(BATCH_S, TURN_S):
            served[name[0] if isinstance(name, tuple) else name] += window.seconds
            seconds += window.seconds
    assert served["long"] == pytest.approx(seconds / 17, rel=0.3)


def test_long_jobs_share_alike_whatever_their_windows(jobs: FairQueue) -> None:
    jobs.add("fine", windows(*[2.0] * 1000))
    jobs.add("coarse", windows(*[20.0] * 100))
    served = Counter()
    for _ in range(60):
        for name, window in jobs.take(BATCH_S, TURN_S):
            served[name] += window.seconds
    assert served["fine"] == pytest.approx(served["coarse"], abs=2 * TURN_S)


def test_live_speech_is_first(jobs: FairQueue) -> None:
    jobs.add("file", windows(3.0, 3.0), group="a")
    jobs.add("live", windows(2.0), group="b", live=True)
    assert names(jobs.take(BATCH_S)) == ["live"]
    assert names(jobs.take(BATCH_S)) == ["file", "file"]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.25, 0.5])
def test_a_short_job_is_served_soon_after_live_speech_was_before_a_long_one(jobs: FairQueue, share: float) -> None:
    """Of a device that computes 50 times real time, live speech takes a share for five minutes; others what is left."""
    clock, spoken, served = 0.0, 0.0, 0.0
    jobs.add("long", windows(*[20.0] * 10_000))

    def step() -> list:
        nonlocal clock, spoken, served
        if spoken < 50 * share * clock and "live" not in jobs:
            jobs.add("live", windows(2.0), group="live", live=True)
            spoken += 2.0
        batch = jobs.take(BATCH_S, TURN_S)
        clock += sum(window.seconds for _, window in batch) / 50
        served += sum(window.seconds for name, window in batch if name == "long")
        return names(batch)

    while clock < 300:
        step()
    assert served / (50 * clock) == pytest.approx(1 - share, abs=0.05)
    for short in range(20):
        jobs.add(short, windows(3.0))
        came = clock
        while short not in step():
            pass
        assert clock - came < 1.0
        while clock < came + 2.0:
            step()


def test_who_was_served_beside_live_speech_shares_alike_with_who_comes(jobs: FairQueue) -> None:
    served = Counter()

    def step() -> None:
        for place in range(8):
            jobs.add(("live", place), windows(2.0), live=True)
        served.update(names(jobs.take(18.0, 2.0)))

    jobs.add("old", windows(*[2.0] * 1000))
    for _ in range(100):
        step()
    assert served["old"] == 100
    jobs.add("new", windows(*[2.0] * 1000))
    for _ in range(100):
        step()
    assert served["old"] - 100 == pytest.approx(served["new"], abs=2)


def test_the_job_that_is_due_is_told_beforehand(jobs: FairQueue) -> None:
    assert jobs.due() is None
    jobs.add("file", windows(3.0))
    jobs.add("live", windows(2.0), live=True)
    assert jobs.due() == "live"
    jobs.cancel("live")
    assert jobs.due() == names(jobs.take(BATCH_S))[0] == "file"


def test_a_batch_has_one_group_and_one_length_about(jobs: FairQueue) -> None:
    for name, group, seconds in [(1, "a", 4.0), (2, "b", 4.0), (3, "a", 30.0), (4, "a", 5.0), (5, "a", 2.5)]:
        jobs.add(name, windows(seconds), group=group)
    assert names(jobs.take(BATCH_S)) == [1, 4, 5]
    assert [names(jobs.take(BATCH_S)) for _ in range(3)] == [[2], [3], []]


def test_long_jobs_take_short_turns(jobs: FairQueue) -> None:
    jobs.add("long", windows(*[8.0] * 10))
    for place in range(3):
        jobs.add(place, windows(7.0))
    batch = names(jobs.take(BATCH_S, TURN_S))
    assert batch.count("long") == 2
    assert set(batch) == {"long", 0, 1, 2}


def test_a_window_longer_than_a_batch_is_one_of_its_own(jobs: FairQueue) -> None:
    jobs.add("x", windows(100.0, 100.0))
    assert names(jobs.take(BATCH_S)) == ["x"]


def test_cancelled_and_late_jobs_are_not_served(jobs: FairQueue) -> None:
    jobs.add("late", windows(1.0, 1.0), deadline=5.0)
    jobs.add("cancelled", windows(1.0), deadline=1.0)
    jobs.add("well", windows(1.0), deadline=9.0)
    jobs.cancel("cancelled")
    jobs.cancel("cancelled")
    assert jobs.expired(4.9) == []
    assert jobs.expired(5.0) == ["late"]
    assert names(jobs.take(BATCH_S)) == ["well"]
    assert jobs.expired(math.inf) == []
    assert len(jobs) == 0


def test_a_job_without_windows_is_none(jobs: FairQueue) -> None:
    assert not jobs.add("empty", windows())
    assert "empty" not in jobs


def test_windows_are_cut_one_ahead(jobs: FairQueue) -> None:
    cut = []
    jobs.add("long", (cut.append(place) or Window(20.0, place) for place in range(100)))
    assert len(cut) == 1
    jobs.take(BATCH_S, TURN_S)
    assert len(cut) == 2


def test_nothing_is_kept_of_jobs_that_are_over(jobs: FairQueue) -> None:
    for place in range(1, 10_000):
        jobs.add(place, windows(1.0, 1.0), group=place % 7 or place, deadline=1e9)
        jobs.add(-place, windows(1.0), group=("alone", place))
        jobs.cancel(-place)
        while len(jobs):
            jobs.take(BATCH_S)
    held = [jobs._due, jobs._deadlines, jobs._groups, jobs._sizes, jobs._flows]
    assert max(map(len, held)) < 100


lengths = st.floats(0.0, 30.0)
operations = st.one_of(
    st.tuples(st.just("add"), st.lists(lengths, max_size=5), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("take"), st.floats(5.0, 60.0), st.floats(1.0, 60.0)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("expire"), st.floats(0.0, 30.0)),
)


@given(st.lists(operations, max_size=60))
def test_every_window_is_served_once_in_order_unless_its_job_is_over(steps: list[tuple]) -> None:
    jobs, expected, groups, deadlines = FairQueue(), {}, {}, {}

    def check(batch: list, most: float, turn: float) -> None:
        found = [window.seconds for _, window in batch]
        assert len({groups[name] for name in names(batch)}) <= 1
        assert len(batch) <= 1 or len(batch) * max(found) <= most
        assert not batch or max(found) <= max(UNLIKE * min(found), min(found) + UNLIKE_S)
        several = [name for name, count in Counter(names(batch)).items() if count > 1]
        assert all(max(found) * names(batch).count(name) <= max(turn, max(found)) + 1e-9 for name in several)
        for name, window in batch:
            assert window == expected[name].pop(0)

    for step, *options in steps:
        if step == "add":
            name, (seconds, group, live) = len(groups), options
            expected[name], groups[name], deadlines[name] = list(windows(*seconds)), group, 10.0 + name
            added = jobs.add(name, windows(*seconds), group=group, deadline=deadlines[name], live=live)
            assert added == bool(seconds)
        elif step == "take":
            check(jobs.take(*options), *options)
        elif step == "cancel":
            jobs.cancel(options[0])
            expected.pop(options[0], None)
        else:
            for name in jobs.expired(options[0]):
                assert deadlines[name] <= options[0]
                assert expected.pop(name)
    assert {name for name in expected if name in jobs} == {name for name, left in expected.items() if left}
    while len(jobs):
        check(jobs.take(BATCH_S, TURN_S), BATCH_S, TURN_S)
    assert not any(expected.values())


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(1.0, 25.0)), min_size=1, max_size=10), st.floats(1.0, 25.0))
def test_a_job_waits_no_longer_than_its_share(others: list[tuple[int, float]], seconds: float) -> None:
    """A window is served before each other job has had more than about its length, beside the batches around it."""
    jobs, served = FairQueue(), Counter()
    for name, (count, length) in enumerate(others):
        jobs.add(name, windows(*[length] * count))
    jobs.take(BATCH_S, TURN_S)
    jobs.add("new", windows(seconds))
    while "new" in jobs:
        for name, window in jobs.take(BATCH_S, TURN_S):
            served[name] += window.seconds
    assert all(served[name] <= seconds + 2 * BATCH_S for name, _ in enumerate(others))
    assert sum(served.values()) <= seconds + len(others) * TURN_S + BATCH_S
