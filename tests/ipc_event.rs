//! `ipc::Event`, between the threads of one process and as messages to itself. What needs other processes is in
//! `ipc_sync_processes`, and a kill at each instruction in `kill_points`.

#![cfg(feature = "processes")]

mod asleep;

use crewkit::ipc::{Event, pipe};
use std::thread;
use std::time::{Duration, Instant};

const BRIEFLY: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn it_is_set_until_it_is_cleared() {
    let event = Event::new().unwrap();
    assert!(!event.is_set());
    event.set().unwrap();
    event.set().unwrap();
    assert!(event.is_set());
    event.wait().unwrap();
    assert!(event.wait_timeout(Duration::ZERO).unwrap());
    event.clear().unwrap();
    event.clear().unwrap();
    assert!(!event.is_set());
}

#[test]
fn a_wait_is_over_in_time() {
    let event = Event::new().unwrap();
    let begin = Instant::now();
    assert!(!event.wait_timeout(BRIEFLY).unwrap());
    assert!(begin.elapsed() >= BRIEFLY);
    assert!(!event.wait_timeout(Duration::ZERO).unwrap());
    // Longer than a slice.
    assert!(!event.wait_timeout(6 * BRIEFLY).unwrap());
    assert!(begin.elapsed() >= 7 * BRIEFLY);
}

#[test]
fn all_who_wait_are_released_also_if_it_is_cleared_at_once() {
    let event = Event::new().unwrap();
    let (near, far) = pipe::<Event, ()>().unwrap();
    near.send(&event).unwrap();
    let again = far.recv().unwrap();
    assert_eq!(event, again);
    for _ in 0..20 {
        thread::scope(|scope| {
            let one = asleep::spawn(scope, || event.wait_timeout(LONG).unwrap());
            let two = asleep::spawn(scope, || again.wait().is_ok());
            one.until_asleep();
            two.until_asleep();
            event.set().unwrap();
            event.clear().unwrap();
            assert!(one.join() && two.join());
        });
    }
    assert!(!again.is_set());
}

#[test]
fn debug_tells_its_state_and_how_many_wait() {
    let event = Event::new().unwrap();
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || event.wait_timeout(LONG).unwrap());
        let begin = Instant::now();
        // Who sleeps looks around from time to time.
        while format!("{event:?}") != "ipc::Event { is_set: false, waiters: 1 }" {
            assert!(begin.elapsed() < LONG, "{event:?}");
        }
        event.set().unwrap();
        assert!(waiter.join());
    });
    assert_eq!(format!("{event:?}"), "ipc::Event { is_set: true, waiters: 0 }");
}
