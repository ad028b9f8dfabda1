"""What CPython's multiprocessing takes, for the contests in src/groups/shared.rs.

Says `ready`, then reads lines of a method and a number of operations, and answers each with the nanoseconds that they
took and how many were done. The best public way of each: bound methods, and `with` where it locks. What is called `both-`
is done by two processes, half of it each.
"""

import multiprocessing
import os
import sys
import time

semaphore = multiprocessing.Semaphore(1)
event = multiprocessing.Event()
is_set = multiprocessing.Event()
is_set.set()
value = multiprocessing.Value("q", 0)
there, back = multiprocessing.Event(), multiprocessing.Event()


def make(count):
    for _ in range(count):
        multiprocessing.Lock()
    return count


def acquire(count):
    take, give = semaphore.acquire, semaphore.release
    for _ in range(count):
        take()
        give()
    return count


def set_and_clear(count):
    for _ in range(count):
        event.set()
        event.clear()
    return count


def wait(count):
    for _ in range(count):
        is_set.wait()
    return count


def add(count):
    value.value = 0
    lock, raw = value.get_lock(), value.get_obj()
    for _ in range(count):
        with lock:
            raw.value += 1
    return value.value


def both_semaphore(count, is_first):
    return acquire(count)


def both_value(count, is_first):
    lock, raw = value.get_lock(), value.get_obj()
    for _ in range(count):
        with lock:
            raw.value += 1
    return count


def both_event(count, is_first):
    mine, theirs = (there, back) if is_first else (back, there)
    for _ in range(count):
        if is_first:
            theirs.set()
        mine.wait()
        mine.clear()
        if not is_first:
            theirs.set()
    return count


BOTH = {"both-semaphore": both_semaphore, "both-value": both_value, "both-event": both_event}


def pin(lane):
    usable = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {usable[lane % len(usable)]})


def assist(far, work):
    pin(1)
    while True:
        far.send(work(far.recv(), False))


def together(work):
    near, far = multiprocessing.Pipe()
    multiprocessing.Process(target=assist, args=(far, work), daemon=True).start()
    pin(0)

    def halves(count):
        near.send(count - count // 2)
        return work(count // 2, True) + near.recv()

    return halves


METHODS = {"make": make, "semaphore": acquire, "event": set_and_clear, "wait": wait, "value": add}
METHODS |= {name: together(work) for name, work in BOTH.items() if name == sys.argv[1]}

print("ready", flush=True)
for line in sys.stdin:
    name, number = line.split()
    start = time.perf_counter_ns()
    done = METHODS[name](int(number))
    print(time.perf_counter_ns() - start, done, flush=True)
