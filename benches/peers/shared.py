"""What CPython's multiprocessing takes, for the contests in src/groups/shared.rs.

Says `ready`, then reads lines of a method and a number of operations, and answers each with the nanoseconds that they
took and how many were done. The best public way of each: bound methods, and `with` where it locks.
"""

import multiprocessing
import sys
import time

semaphore = multiprocessing.Semaphore(1)
event = multiprocessing.Event()
is_set = multiprocessing.Event()
is_set.set()
value = multiprocessing.Value("q", 0)


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


METHODS = {"make": make, "semaphore": acquire, "event": set_and_clear, "wait": wait, "value": add}

print("ready", flush=True)
for line in sys.stdin:
    name, number = line.split()
    start = time.perf_counter_ns()
    done = METHODS[name](int(number))
    print(time.perf_counter_ns() - start, done, flush=True)
