//! The memory of queues. As with other objects, the mutexes are not written.

use std::os::fd::AsFd;
use std::time::Duration;

use super::{Input, scribble};
use crate::ipc::parcel;
use crate::ipc::{Queue, wait};
use crate::primitive::Robust;
use crate::queue::Shutdown;
use crate::shm::Segment;
use crate::shm::queue::MUTEXES;

const BRIEFLY: Duration = Duration::from_micros(100);
/// The words of an object's header.
const HEADER: usize = 8;

type Item = (u32, String);

/// Makes a queue with some items in it, has the input write over its words and its records, and goes on with it, and with what
/// was on leases: here, and where somebody opens it then.
pub fn queue(data: &[u8]) {
    let mut input = Input(data);
    let (most, lines) = (input.below(4), 1 + input.below(4));
    let queue = Queue::<Item>::with_bytes(most, 64 * lines).expect("a queue");
    let travelling = parcel::encode(&queue).expect("a parcel");
    // The other one is its counter.
    let memory =
        travelling.fds.iter().find_map(|fd| Segment::from_any_fd(fd.try_clone().ok()?).ok()).expect("a segment");
    let records = memory.words().len() - 8 * lines.next_power_of_two();
    for number in 0..input.below(6) {
        any(queue.try_put((3, "x".repeat(5 * number))));
    }
    let mut leases: Vec<_> = (0..input.below(4)).filter_map(|_| queue.try_get_leased().ok()).collect();
    for turn in 0_u32.. {
        if input.byte().is_multiple_of(2) {
            scribble(&memory.words()[records..], &mut input, |_| false);
        } else {
            scribble(memory.words(), &mut input, is_of_a_mutex);
        }
        exercise(&queue, turn);
        let fds = travelling.fds.iter().map(|fd| fd.as_fd().try_clone_to_owned().expect("a descriptor"));
        if let Ok(opened) = parcel::decode::<Queue<Item>>(&travelling.bytes, fds.collect()) {
            exercise(&opened, turn + 1);
        }
        match leases.pop() {
            Some(lease) if turn.is_multiple_of(2) => any(lease.ack()),
            Some(lease) => any(lease.requeue()),
            None => {}
        }
        if input.is_empty() {
            break;
        }
    }
    assert!(!format!("{queue:?}{:?}", queue.stats()).is_empty());
}

fn is_of_a_mutex(index: usize) -> bool {
    let of = |offset: &usize| HEADER + offset / 8..HEADER + (offset + size_of::<Robust>()).div_ceil(8);
    MUTEXES.iter().any(|offset| of(offset).contains(&index))
}

/// Whatever the answer is, it is one.
fn any<T>(answer: T) {
    drop(answer);
}

fn exercise(queue: &Queue<Item>, turn: u32) {
    any(queue.try_put((turn, "text".to_owned())));
    any(queue.put_many_timeout([(1, String::new()), (2, "other".to_owned())], BRIEFLY));
    any((queue.len(), queue.is_empty(), queue.is_full(), queue.capacity(), queue.longest_item()));
    any(wait(&[&queue.readiness()], Duration::ZERO));
    any(queue.get_timeout(BRIEFLY));
    let lease = queue.get_leased_timeout(BRIEFLY);
    any(queue.get_many_timeout(3, BRIEFLY));
    any(queue.task_done());
    any(queue.unfinished());
    any(lease.map(|lease| if turn.is_multiple_of(2) { lease.ack().map(drop) } else { lease.requeue() }));
    any(queue.join_timeout(BRIEFLY));
    match turn % 8 {
        5 => any(queue.clear()),
        6 => any(queue.shutdown(Shutdown::Drain)),
        7 => any(queue.shutdown(Shutdown::Immediate)),
        _ => any(queue.set_capacity(2)),
    }
}
