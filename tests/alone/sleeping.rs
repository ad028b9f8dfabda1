//! Whether a child sleeps.

use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::alone::Child;

/// A child that has not fallen asleep for this long will not.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the child sleeps in a system call.
pub(crate) fn until_asleep(child: &Child) {
    until_pid_sleeps(child.pid());
}

/// The same, of somebody else's child.
pub(crate) fn until_pid_sleeps(child: Pid) {
    let begin = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child)).unwrap();
        match stat.rsplit(") ").next().and_then(|fields| fields.chars().next()) {
            Some('S') => return,
            Some('Z') => panic!("the child has ended"),
            _ => assert!(begin.elapsed() < PATIENCE, "the child does not sleep: {stat}"),
        }
        std::thread::yield_now();
    }
}
