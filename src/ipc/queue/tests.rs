//! What is found while somebody is stopped inside a queue, and once a lease was taken away.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::core::Wait;
use super::{Queue, Way};
use crate::ipc::{LockError, pipe};
use crate::queue::Shutdown;
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Readiness};

const BRIEFLY: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(60);

/// The same queue, with a seat of its own.
fn twin(queue: &Queue<u8>) -> Queue<u8> {
    let (near, far) = pipe::<Queue<u8>, ()>().unwrap();
    near.send(queue).unwrap();
    far.recv().unwrap()
}

/// Does `body` while another thread is stopped inside, having taken an item.
fn while_one_is_stopped_inside<R>(queue: &Queue<u8>, body: impl FnOnce() -> R) -> R {
    thread::scope(|scope| {
        let (is_inside, inside) = mpsc::channel();
        let (goes_on, may_go_on) = mpsc::channel::<()>();
        scope.spawn(move || {
            let stop = |_, _| {
                is_inside.send(()).unwrap();
                // Until the other end is gone, also by a panic.
                let _ = may_go_on.recv();
            };
            queue.core.take::<()>((Way::Plainly, 1), &mut Vec::new(), stop, Wait::No).unwrap();
        });
        inside.recv().unwrap();
        let result = body();
        drop(goes_on);
        result
    })
}

/// What somebody has on a lease, without one.
fn lease(queue: &Queue<u8>, count: usize) {
    queue.core.take::<()>((Way::OnALease, count), &mut Vec::new(), |_, _| {}, Wait::No).unwrap();
}

#[test]
fn who_comes_while_another_is_stopped_inside_waits_no_longer_than_it_said() {
    let queue = Queue::unbounded().unwrap();
    queue.put(1).unwrap();
    // It has no seat yet, and gets none.
    let other = twin(&queue);
    while_one_is_stopped_inside(&queue, || {
        assert!(other.try_get().unwrap_err().is_empty());
        assert!(other.get_timeout(BRIEFLY).unwrap_err().is_empty());
        assert!(other.try_get_many(2).unwrap_err().is_empty());
        assert!(other.get_leased_timeout(BRIEFLY).unwrap_err().is_empty());
        assert!(other.try_iter().next().is_none());
        assert!(!other.join_timeout(Duration::ZERO).unwrap());
        assert!(!other.join_timeout(BRIEFLY).unwrap());
    });
    assert_eq!((other.len(), other.unfinished().unwrap()), (0, 1));
}

#[test]
fn what_is_ended_while_another_is_stopped_inside_is_ended_in_time_or_later() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many([1, 2, 3]).unwrap();
    let other = twin(&queue);
    let (first, second) = (other.get_leased().unwrap(), other.get_leased().unwrap());
    while_one_is_stopped_inside(&queue, || {
        let error = first.ack_timeout(BRIEFLY).unwrap_err();
        assert!(error.is_timeout() && !error.to_string().is_empty());
        let error = error.into_inner().requeue_timeout(BRIEFLY).unwrap_err();
        assert!(matches!(error.error(), LockError::Timeout));
        assert_eq!(*error.into_inner(), 1, "dropped here, which is for later");
        other.core.end_lease_soon(second.held.unwrap(), true);
        drop(second);
        let in_time = |error| assert!(matches!(error, LockError::Timeout));
        in_time(other.clear_timeout(BRIEFLY).unwrap_err());
        in_time(other.unfinished_timeout(BRIEFLY).unwrap_err());
        in_time(other.task_done_timeout(BRIEFLY).unwrap_err());
        other.put(4).unwrap();
        assert!(other.get_timeout(BRIEFLY).unwrap_err().is_empty());
        other.shutdown_timeout(Shutdown::Drain, BRIEFLY).unwrap();
        assert!(other.is_shut_down());
    });
    let lease = other.get_leased_timeout(LONG).unwrap();
    assert_eq!((*lease, lease.attempt()), (1, 2));
    assert_eq!(lease.ack_timeout(LONG).unwrap(), 1);
    assert_eq!((other.get().unwrap(), other.unfinished_timeout(LONG).unwrap()), (4, 2), "3 and 4");
    assert!(other.task_done_timeout(LONG).unwrap() && other.task_done_timeout(LONG).unwrap());
    assert!(!other.task_done_timeout(LONG).unwrap() && other.join_timeout(LONG).unwrap());
}

#[test]
fn a_lease_that_was_taken_away_is_not_ended_by_who_had_it() {
    let queue = Queue::unbounded().unwrap();
    let other = twin(&queue);
    queue.put(7).unwrap();
    for is_done in [true, false] {
        let lease = queue.get_leased().unwrap();
        // As one who takes this process for dead.
        queue.core.end_lease(lease.held.unwrap(), false, Deadline::NEVER).unwrap();
        let theirs = other.get_leased().unwrap();
        let error = if is_done { lease.ack().map(drop) } else { lease.requeue() }.unwrap_err();
        assert!(error.to_string().contains("taken away"), "{error}");
        assert_eq!((*theirs, queue.unfinished().unwrap()), (7, 1));
        drop(theirs);
    }
    assert_eq!(queue.get().unwrap(), 7);
}

#[test]
fn the_last_handle_gives_back_what_is_leased_where_it_sits() {
    let queue = Queue::unbounded().unwrap();
    queue.put(7).unwrap();
    let other = twin(&queue);
    lease(&other, 1);
    assert!(queue.try_get().unwrap_err().is_empty());
    let clone = other.clone();
    drop(other);
    assert!(queue.try_get().unwrap_err().is_empty(), "not the last");
    drop(clone);
    assert_eq!(queue.try_get().unwrap(), 7);
}

#[test]
fn the_last_handle_gives_back_its_leases_though_another_is_stopped_inside() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many([6, 7]).unwrap();
    let other = twin(&queue);
    lease(&other, 1);
    while_one_is_stopped_inside(&queue, || drop(other));
    assert_eq!(queue.try_get().unwrap(), 6);
    let other = twin(&queue);
    queue.put_many([8, 9]).unwrap();
    lease(&other, 1);
    while_one_is_stopped_inside(&queue, || drop(other));
    assert!(queue.is_empty());
    // It belongs to the same process, and sits down where the one before sat.
    assert!(twin(&queue).task_done_timeout(LONG).unwrap());
    assert_eq!((queue.len(), queue.try_get().unwrap()), (1, 8));
}

#[test]
fn a_report_by_itself_waits_for_nobody_who_is_stopped() {
    let queue = Queue::unbounded().unwrap();
    queue.put(1).unwrap();
    let other = twin(&queue);
    assert!(!other.task_done_timeout(LONG).unwrap());
    while_one_is_stopped_inside(&queue, || {
        let (done, is_done) = mpsc::channel();
        let other = other.clone();
        thread::spawn(move || {
            drop(other.task(7));
            let _ = done.send(());
        });
        is_done.recv_timeout(LONG).unwrap();
    });
    assert_eq!(other.unfinished().unwrap(), 1);
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    poll::wait(fd, Readiness::READ, Deadline::after(Duration::ZERO)).unwrap().any()
}

#[test]
fn who_takes_back_rings_for_who_waits_for_a_descriptor() {
    let queue = Queue::unbounded().unwrap();
    let calls: [fn(&Queue<u8>); 3] = [
        |queue| assert_eq!(queue.try_get().unwrap(), 1),
        |queue| assert!(queue.get_timeout(LONG).is_ok()),
        |queue| assert!(twin(queue).task_done_timeout(LONG).unwrap()),
    ];
    for takes_back in calls {
        queue.put_many([1, 2, 3]).unwrap();
        let other = twin(&queue);
        lease(&other, 2);
        let readiness = queue.readiness();
        let fd = while_one_is_stopped_inside(&queue, || {
            let fd = readiness.as_fd();
            assert!(!is_readable(fd));
            drop(other);
            fd
        });
        assert!(!is_readable(fd));
        takes_back(&queue);
        assert!(is_readable(fd));
        queue.clear().unwrap();
        while queue.task_done_timeout(LONG).unwrap() {}
    }
}

#[test]
fn the_last_handle_rings_for_what_it_gives_back() {
    let queue = Queue::unbounded().unwrap();
    queue.put_many([1, 2]).unwrap();
    let other = twin(&queue);
    let lease = other.get_leased().unwrap();
    while_one_is_stopped_inside(&queue, || drop(lease));
    let readiness = queue.readiness();
    let fd = readiness.as_fd();
    assert!(!is_readable(fd));
    drop(other);
    assert!(is_readable(fd));
}
