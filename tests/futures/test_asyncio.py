"""In an event loop: futures are awaited, executors run what would block it."""

import asyncio
import concurrent.futures
import threading

import pytest

import lineshaft as ls


def fail() -> None:
    raise ValueError("x")


def test_await(executor):
    async def main() -> list[int]:
        return [await executor.submit(pow, 2, 3), await ls.submit(pow, 2, 4)]

    assert asyncio.run(main()) == [8, 16]


def test_wrap_future_and_gather(executor):
    async def main() -> list[int]:
        return await asyncio.gather(*(asyncio.wrap_future(executor.submit(pow, n, 2)) for n in range(50)))

    assert asyncio.run(main()) == [n * n for n in range(50)]


def test_run_in_executor(executor):
    async def main() -> tuple[int, list[int]]:
        loop = asyncio.get_running_loop()
        first = await loop.run_in_executor(executor, pow, 2, 5)
        return first, await asyncio.gather(*(loop.run_in_executor(executor, abs, -n) for n in range(20)))

    assert asyncio.run(main()) == (32, list(range(20)))


def test_exceptions(executor):
    async def main() -> None:
        with pytest.raises(ValueError, match="x"):
            await executor.submit(fail)
        with pytest.raises(ValueError, match="x"):
            await asyncio.get_running_loop().run_in_executor(executor, fail)

    asyncio.run(main())


def test_the_loop_goes_on_meanwhile(executor, event):
    leave = event("leave")

    async def main() -> list[str]:
        order: list[str] = []

        async def release() -> None:
            order.append("beside")
            leave.set()

        async def wait() -> None:
            await executor.submit(leave.wait)
            order.append("after")

        await asyncio.gather(wait(), release())
        return order

    assert asyncio.run(main()) == ["beside", "after"]


def test_cancelling_the_awaiting_task_cancels_a_waiting_call(executor_class, event):
    leave = event("leave")

    async def main() -> "ls.Future[int]":
        with executor_class(1) as executor:
            running, waiting = executor.submit(leave.wait), executor.submit(pow, 2, 2)
            task = asyncio.ensure_future(asyncio.wrap_future(waiting))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # asyncio tells the call in a later turn of its loop.
            while not waiting.done():
                await asyncio.sleep(0)
            leave.set()
            await running
            return waiting

    assert asyncio.run(main()).cancelled()


def test_a_time_limit(executor, event):
    leave = event("leave")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(executor.submit(leave.wait)), 0.05)

    try:
        asyncio.run(main())
    finally:
        leave.set()


def test_the_default_executor():
    async def main() -> tuple[str, str, bool]:
        loop = asyncio.get_running_loop()
        executor = ls.ThreadPoolExecutor(2, thread_name_prefix="ours")
        loop.set_default_executor(executor)
        name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
        other = await asyncio.to_thread(lambda: threading.current_thread().name)
        return name, other, isinstance(executor, concurrent.futures.ThreadPoolExecutor)

    name, other, is_one = asyncio.run(main())
    assert name.startswith("ours_")
    assert other.startswith("ours_")
    assert is_one


def test_processes_are_no_default_executor(processes):
    async def main() -> None:
        with pytest.raises(TypeError, match="ThreadPoolExecutor"):
            asyncio.get_running_loop().set_default_executor(processes)

    asyncio.run(main())


def test_two_loops_share_an_executor(executor):
    async def main() -> int:
        return await executor.submit(pow, 2, 2)

    results = []
    loops = [threading.Thread(target=lambda: results.append(asyncio.run(main()))) for _ in range(4)]
    for thread in loops:
        thread.start()
    for thread in loops:
        thread.join(30)
    assert results == [4] * 4
