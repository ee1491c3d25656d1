"""parallel.run: results in order, a bounded queue, and an end that is clean however it comes."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dvsprep import parallel
from dvsprep.errors import FormatError, UsageError

KINDS = ["serial", "threads", "processes"]


def square(n: int) -> int:
    return n * n


def square_or_fail(n: int) -> int:
    if n == 3:
        raise FormatError("r.aedat: byte 3 is wrong", hint="fetch again")
    return n * n


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tasks", [0, 1, 23])
def test_results_come_in_the_order_of_the_tasks(kind, tasks):
    assert list(parallel.run(square, range(tasks), kind, jobs=2)) == [n * n for n in range(tasks)]


def test_order_holds_when_later_tasks_end_earlier():
    def slow_first(n):
        time.sleep(0.05 if n % 4 == 0 else 0)
        return n

    assert list(parallel.run(slow_first, range(20), jobs=4)) == list(range(20))


def test_threads_run_at_the_same_time():
    both = threading.Barrier(2, timeout=10)
    list(parallel.run(lambda _: both.wait(), range(2), "threads", jobs=2))  # would break after 10 s if one by one


@pytest.mark.parametrize("kind", ["serial", "threads"])
def test_one_job_runs_in_the_callers_thread_and_only_when_asked(kind):
    ran = []
    results = parallel.run(lambda n: ran.append(threading.current_thread()) or n, range(5), kind, jobs=1)
    assert ran == []
    assert next(results) == 0
    assert ran == [threading.main_thread()]


@pytest.mark.parametrize("jobs", [2, 5])
def test_no_more_than_two_tasks_a_job_are_in_flight(jobs):
    taken = []
    tasks = (taken.append(n) or n for n in range(100))
    for done, _ in enumerate(parallel.run(square, tasks, "threads", jobs=jobs), start=1):
        assert len(taken) - done < 2 * jobs
    assert done == len(taken) == 100


@pytest.mark.parametrize("kind", KINDS)
def test_first_error_is_raised_as_it_was_after_the_results_before_it(kind):
    results = parallel.run(square_or_fail, range(100), kind, jobs=2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(FormatError) as caught:
        next(results)
    assert (caught.value.message, caught.value.hint) == ("r.aedat: byte 3 is wrong", "fetch again")
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("end", ["error", "close"])
def test_an_early_end_cancels_what_has_not_started(end):
    started, release = [], threading.Event()

    def first_ends_second_waits(n):
        started.append(n)
        if n == 0 and end == "error":
            raise ValueError(n)
        return n == 0 or release.wait(10)

    with ThreadPoolExecutor(1) as pool:  # one worker, four tasks in flight: 2 and 3 can only wait in the queue
        results = parallel.run(first_ends_second_waits, range(1000), pool, jobs=2)
        if end == "error":
            with pytest.raises(ValueError, match=r"^0$"):
                next(results)
        else:
            assert next(results) is True
            results.close()
        release.set()
    assert set(started) <= {0, 1}


def test_error_of_the_tasks_themselves_is_raised_too():
    def tasks():
        yield 1
        raise FormatError("no more")

    with pytest.raises(FormatError, match="no more"):
        list(parallel.run(square, tasks(), "threads", jobs=2))


def test_closing_early_leaves_no_thread():
    before = threading.active_count()
    results = parallel.run(square, range(1000), "threads", jobs=2)
    assert next(results) == 0
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before


def test_own_executor_is_used_and_left_open():
    with ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
        names = set(parallel.run(lambda _: threading.current_thread().name[:4], range(9), pool, jobs=2))
        assert names == {"mine"}
        with pytest.raises(FormatError):
            list(parallel.run(square_or_fail, range(9), pool, jobs=2))
        assert pool.submit(square, 5).result() == 25


def test_unknown_executor_is_refused():
    with pytest.raises(UsageError, match="executor is 'dask', expected serial, threads, processes or an Executor"):
        list(parallel.run(square, range(3), "dask", jobs=2))


def test_processes_are_spawned_not_forked():
    (pid,) = set(parallel.run(process_id, range(3), "processes", jobs=1))
    assert pid != os.getpid()


def process_id(_: int) -> int:
    return os.getpid()


def test_cpu_count_is_what_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 7}, raising=False)
    assert parallel.cpu_count() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert parallel.cpu_count() == 1


def running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before the open, or between it and the read
        return False


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
def test_killed_parent_leaves_no_workers_behind(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        import os, time
        from dvsprep import parallel

        def work(n):
            print(os.getpid(), flush=True)
            time.sleep(60)

        if __name__ == "__main__":
            list(parallel.run(work, range(2), "processes", jobs=2))
        """)
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    with parent:
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        assert all(map(running, workers))
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(map(running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(running, workers))


def test_ctrl_c_while_the_thread_of_ahead_starts_is_raised_and_closes_the_iterator(monkeypatch):
    begun, closed, start = threading.Event(), [], threading.Thread.start

    def items():
        try:
            begun.set()
            time.sleep(0.2)
            yield 1
        finally:
            closed.append(True)

    def interrupted(thread):
        start(thread)
        begun.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(parallel.ahead(items()))
    assert closed == [True]


@pytest.mark.parametrize(("before", "within"), [(700, parallel.SELDOM), (0, 0), (10**6, 10**6)])
def test_garbage_is_seldom_looked_for_and_as_often_as_before_afterwards_even_after_an_error(before, within):
    was = gc.get_threshold()
    try:
        gc.set_threshold(before, 7, 8)

        @parallel.seldom_collected()
        def build():
            assert gc.get_threshold() == (within, 7, 8)
            raise FormatError("r.bin: byte 3 is wrong")

        for _ in range(2):
            with pytest.raises(FormatError):
                build()
            assert gc.get_threshold() == (before, 7, 8)
    finally:
        gc.set_threshold(*was)
