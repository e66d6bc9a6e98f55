import time
from multiprocessing import Pool

if __name__ == "__main__":
    pool = Pool(2)
    pool.map_async(time.sleep, [600] * 10, chunksize=1)
    print(pool.apply_async(abs, (-1,)).ready())
