//! The memory of objects.
//!
//! What is not written is the mutex in front of some: glibc follows the pointers in it, and the kernel's list of robust
//! locks leads through it, so processes that share one trust each other. Everything else may be anything, at any time:
//! who uses the object then gets an error, or an answer that is wrong, in its time.

use std::fmt::Debug;
use std::os::fd::AsFd;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Input, scribble};
use crate::ipc::parcel;
use crate::ipc::{
    Array, Barrier, BoundedSemaphore, Condition, Counter, Event, Item, Lock, RLock, Semaphore, ShareableList, Value,
};
use crate::primitive::Robust;
use crate::shm::Segment;

const BRIEFLY: Duration = Duration::from_micros(100);

/// Makes an object, uses it, writes into its memory as the input says, and then uses it again, opens it and uses that.
pub fn object(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 12 {
        0 => attack(&Lock::new().expect("an object"), true, &mut input, lock),
        1 => attack(&RLock::new().expect("an object"), true, &mut input, r_lock),
        2 => attack(&Semaphore::new(2).expect("an object"), true, &mut input, semaphore),
        3 => attack(&BoundedSemaphore::new(2).expect("an object"), true, &mut input, bounded),
        4 => attack(&Event::new().expect("an object"), false, &mut input, event),
        5 => attack(&Barrier::new(2).expect("an object"), true, &mut input, barrier),
        6 => {
            let of = Lock::new().expect("an object");
            attack(&Condition::new(&of).expect("an object"), false, &mut input, condition);
        }
        7 => attack(&Value::new([1_u64; 5]).expect("an object"), true, &mut input, value),
        8 => attack(&Counter::new(7).expect("an object"), false, &mut input, counter),
        9 => attack(&Array::new(&[[1_u64; 3]; 4]).expect("an object"), true, &mut input, array),
        10 => attack(&Array::new(&[1_u8; 9]).expect("an object"), true, &mut input, bytes),
        _ => {
            let items = [Item::from("text of a list"), 5.into(), 0.5.into(), Item::None, true.into()];
            attack(&ShareableList::new(items).expect("an object"), true, &mut input, list);
        }
    }
}

/// The words of an object's header.
const HEADER: usize = 8;

fn attack<T>(object: &T, has_mutex: bool, input: &mut Input<'_>, exercise: fn(&T))
where
    T: Debug + Serialize + DeserializeOwned,
{
    let travelling = parcel::encode(object).expect("a parcel");
    let memory = Segment::from_any_fd(travelling.fds[0].try_clone().expect("a descriptor")).expect("a segment");
    let mutex = if has_mutex { HEADER..HEADER + size_of::<Robust>().div_ceil(8) } else { 0..0 };
    if input.byte().is_multiple_of(2) {
        exercise(object);
    }
    scribble(memory.words(), input, |index| mutex.contains(&index));
    exercise(object);
    let fds = travelling.fds.iter().map(|fd| fd.as_fd().try_clone_to_owned().expect("a descriptor"));
    if let Ok(opened) = parcel::decode::<T>(&travelling.bytes, fds.collect()) {
        exercise(&opened);
        scribble(memory.words(), input, |index| mutex.contains(&index));
        exercise(&opened);
    }
    exercise(object);
    assert!(!format!("{object:?}").is_empty());
}

/// Whatever the answer is, it is one.
fn any<T>(answer: T) {
    drop(answer);
}

fn lock(lock: &Lock) {
    any(lock.try_lock());
    match lock.lock_timeout(BRIEFLY) {
        Ok(guard) => guard.recover(),
        Err(error) => any(error.into_guard().map(|guard| guard.recover())),
    }
    any(lock.is_locked());
}

fn r_lock(lock: &RLock) {
    let outer = lock.lock_timeout(BRIEFLY);
    any(lock.try_lock());
    any((lock.depth(), lock.is_owned()));
    any(outer);
    any(lock.release());
}

macro_rules! semaphores {
    ($($function:ident: $type:ty),*) => {
        $(
            fn $function(semaphore: &$type) {
                let one = semaphore.try_acquire();
                let many = semaphore.acquire_many_timeout(2, BRIEFLY);
                any(semaphore.available());
                any(semaphore.release(1));
                if let Ok(permit) = one {
                    permit.forget();
                }
                any(many);
                any(semaphore.acquire_timeout(BRIEFLY));
            }
        )*
    };
}

semaphores!(semaphore: Semaphore, bounded: BoundedSemaphore);

fn event(event: &Event) {
    any(event.is_set());
    any(event.wait_timeout(BRIEFLY));
    any(event.set());
    any(event.wait_timeout(BRIEFLY));
    any(event.clear());
}

fn barrier(barrier: &Barrier) {
    any((barrier.parties(), barrier.waiting(), barrier.is_broken()));
    any(barrier.enroll());
    any(barrier.wait_timeout(BRIEFLY));
    any(barrier.reset());
    any(barrier.wait_with_timeout(BRIEFLY, || ()));
    any(barrier.abort());
}

fn condition(condition: &Condition) {
    let Ok(guard) = condition.lock().lock_timeout(BRIEFLY) else { return };
    any(condition.notify(&guard, 3));
    any(condition.notify_all(&guard));
    any(condition.wait_timeout(guard, BRIEFLY));
}

fn value(value: &Value<[u64; 5]>) {
    any(value.get());
    any(value.set_timeout([2; 5], BRIEFLY));
    any(value.update_timeout(BRIEFLY, |all| all[0] = all[0].wrapping_add(1)));
    any(value.get());
}

fn counter(counter: &Counter) {
    any(counter.get());
    any(counter.add(1));
    any(counter.swap(3));
    any(counter.compare_exchange(3, 4));
}

macro_rules! arrays {
    ($($function:ident: $type:ty = $element:expr),*) => {
        $(
            fn $function(array: &Array<$type>) {
                any((array.len(), array.is_locked()));
                for index in 0..array.len().min(16) {
                    any(array.get_timeout(index, BRIEFLY));
                    any(array.set_timeout(index, $element, BRIEFLY));
                }
                match array.lock_timeout(BRIEFLY) {
                    Ok(mut guard) => guard.fill($element),
                    Err(error) => any(error.into_guard().map(|guard| guard.recover())),
                }
            }
        )*
    };
}

arrays!(array: [u64; 3] = [5; 3], bytes: u8 = 6);

fn list(list: &ShareableList) {
    any(list.to_vec());
    for index in 0..list.len().min(16) {
        any(list.get(index));
        any(list.set_timeout(index, "new", BRIEFLY));
    }
    any(list.index(5));
}
