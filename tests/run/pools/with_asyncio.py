import asyncio
import concurrent.futures


def double(x):
    return 2 * x


async def main():
    loop = asyncio.get_running_loop()
    print(await asyncio.to_thread(double, 1), await loop.run_in_executor(None, double, 2))
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        print(await asyncio.gather(*(loop.run_in_executor(executor, double, i) for i in range(5))))
        try:
            await loop.run_in_executor(executor, int, "x")
        except ValueError as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
