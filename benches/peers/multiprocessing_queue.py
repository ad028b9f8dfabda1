"""CPython's multiprocessing.Queue, measured from inside.

The argument is how many processes put and how many get. Reads lines "items COUNT" from standard input and answers each with
"NANOSECONDS COUNT": how long it took until the consumers had got COUNT items of 64 bytes, and how many they have. Ends at
the end of the input.
"""

import os
import sys
import time
from multiprocessing import Pipe, Process, Queue

ITEM = b"x" * 64


def pin(lane):
    usable = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {usable[lane % len(usable)]})


def produce(far, queue):
    pin(0)
    put = queue.put
    while True:
        for _ in range(far.recv()):
            put(ITEM)
        far.send(0)


def consume(far, queue):
    pin(1)
    get = queue.get
    while True:
        count = 0
        for _ in range(far.recv()):
            count += len(get()) == len(ITEM)
        far.send(count)


def start(work, queue):
    near, far = Pipe()
    Process(target=work, args=(far, queue), daemon=True).start()
    return near


def main():
    pairs = int(sys.argv[1])
    queue = Queue()
    workers = [start(work, queue) for work in (produce, consume) for _ in range(pairs)]
    print("ready", flush=True)
    for line in sys.stdin:
        number = int(line.split()[1])
        begin = time.perf_counter_ns()
        for near in workers:
            near.send(number // pairs)
        counted = sum(near.recv() for near in workers)
        print(time.perf_counter_ns() - begin, counted, flush=True)


if __name__ == "__main__":
    main()
