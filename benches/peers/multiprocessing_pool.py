"""CPython's multiprocessing.Pool, measured from inside.

Reads lines "METHOD COUNT" from standard input and answers each with "NANOSECONDS SUM": how long COUNT operations took,
and the sum of their results, which the reader checks. Ends at the end of the input.
"""

import sys
import time
from multiprocessing import Pool


def square(number):
    return number * number


def apply(pool, count):
    return [pool.apply(square, (number,)) for number in range(count)]


def map_default(pool, count):
    return pool.map(square, range(count))


def map_singly(pool, count):
    return pool.map(square, range(count), chunksize=1)


METHODS = {"apply": apply, "map": map_default, "map-singly": map_singly}


def main():
    with Pool(int(sys.argv[1])) as pool:
        pool.apply(square, (1,))
        print("ready", flush=True)
        for line in sys.stdin:
            method, count = line.split()
            start = time.perf_counter_ns()
            results = METHODS[method](pool, int(count))
            taken = time.perf_counter_ns() - start
            print(taken, sum(results), flush=True)


if __name__ == "__main__":
    main()
