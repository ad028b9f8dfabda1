"""CPython's generators, and the greenlets of the package `greenlet`, measured from inside.

Reads lines "METHOD COUNT" from standard input and answers each with "COST SUM": what COUNT operations cost, in nanoseconds
(of `resident`: in bytes), and the sum of their results, which the reader checks. Loops are left to C where Python can do
that: `sum(map(send, numbers))`. Ends at the end of the input.
"""

import os
import sys
import time
from itertools import islice, repeat


def send(count):
    def body():
        number = 0
        while True:
            number = (yield number + 1)

    generator = body()
    next(generator)
    return sum(map(generator.send, range(count)))


def numbers():
    number = 0
    while True:
        yield number
        number += 1


def iterate(count):
    return sum(islice(numbers(), count))


def yield_from(count):
    def level(depth):
        yield from level(depth - 1) if depth else numbers()

    return sum(islice(level(9), count))


def finish(count):
    def body(number):
        return number + 1
        yield

    total = 0
    for number in range(count):
        try:
            next(body(number))
        except StopIteration as end:
            total += end.value
    return total


def throw(count):
    def body():
        answer = 0
        while True:
            try:
                yield answer
            except ValueError:
                answer = 1

    generator = body()
    next(generator)
    return sum(map(generator.throw, repeat(ValueError, count)))


def switch(count):
    import greenlet

    def body(number):
        while True:
            number = main.switch(number + 1)

    main = greenlet.getcurrent()
    return sum(map(greenlet.greenlet(body).switch, range(count)))


def alive(count, kept):
    def body(number):
        yield number
        yield number

    kept.extend(map(body, range(count)))
    return sum(map(next, kept))


def pages():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1])


def timed(work, count):
    start = time.perf_counter_ns()
    total = work(count)
    return time.perf_counter_ns() - start, total


def resident(work, count):
    before = pages()
    total = work(count)
    return (pages() - before) * os.sysconf("SC_PAGESIZE"), total


def main():
    for line in sys.stdin:
        method, count = line.split()
        kept = []
        if method == "resident":
            answer = resident(lambda count: alive(count, kept), int(count))
        elif method == "alive":
            answer = timed(lambda count: alive(count, kept), int(count))
        else:
            answer = timed(METHODS[method], int(count))
        print(*answer, flush=True)


METHODS = {"send": send, "iterate": iterate, "yield-from": yield_from, "finish": finish, "throw": throw, "switch": switch}

if __name__ == "__main__":
    if sys.argv[1:] == ["switch"]:
        try:
            import greenlet
        except ImportError:
            sys.exit(print("its package greenlet is not installed", flush=True))
    print("ready", flush=True)
    main()
