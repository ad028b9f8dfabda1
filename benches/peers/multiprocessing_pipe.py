"""CPython's multiprocessing.Pipe, one way, measured from inside.

The argument is the size of a message: "8 B" and "64 B" are objects (a number, eight numbers), all others bytes. Reads
lines "send COUNT" from standard input and answers each with "NANOSECONDS COUNT": how long it took until the other
process had received COUNT messages, and how many it has. Ends at the end of the input.
"""

import os
import sys
import time
from multiprocessing import Pipe, Process

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}


def pin(lane):
    usable = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {usable[lane % len(usable)]})


def count(far, objects):
    pin(1)
    receive = far.recv if objects else far.recv_bytes
    while True:
        wanted = far.recv()
        for _ in range(wanted):
            receive()
        far.send(wanted)


def main():
    amount, unit = sys.argv[1].split()
    size = int(amount) * UNITS[unit]
    objects = size <= 64
    near, far = Pipe()
    Process(target=count, args=(far, objects), daemon=True).start()
    message = (1 << 40 if size == 8 else [1 << 40] * 8) if objects else b"x" * size
    send = near.send if objects else near.send_bytes
    pin(0)
    print("ready", flush=True)
    for line in sys.stdin:
        number = int(line.split()[1])
        near.send(number)
        start = time.perf_counter_ns()
        for _ in range(number):
            send(message)
        received = near.recv()
        print(time.perf_counter_ns() - start, received, flush=True)


if __name__ == "__main__":
    main()
