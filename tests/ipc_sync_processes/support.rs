//! Children that hold something, or sleep on it.

use std::time::{Duration, Instant};

use crewkit::ipc::Connection;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alone::{Child, peer};

pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const BRIEFLY: Duration = Duration::from_millis(50);

/// A child that has been handed an object, and has done something with it when this returns. It lives until it is killed.
pub(crate) struct Holder<T> {
    pub(crate) child: Child,
    _end: Connection<T, ()>,
}

pub(crate) fn holder<T: Serialize + DeserializeOwned>(object: &T, hold: impl FnOnce(&T)) -> Holder<T> {
    let (end, child) = peer::<T, (), _>(|end| {
        let object = end.recv().unwrap();
        hold(&object);
        end.send(&()).unwrap();
        let _never = end.recv();
    });
    end.send(object).unwrap();
    end.recv_timeout(SOON).unwrap();
    Holder { child, _end: end }
}

/// A child that does something with an object, in which it sleeps when this returns.
pub(crate) fn sleeper<T: Serialize + DeserializeOwned>(object: &T, body: impl FnOnce(&T) -> i32) -> Child {
    let (end, child) = peer::<T, (), _>(|end| {
        let object = end.recv().unwrap();
        end.send(&()).unwrap();
        body(&object)
    });
    end.send(object).unwrap();
    end.recv_timeout(SOON).unwrap();
    until_asleep(&child);
    child
}

pub(crate) fn until_asleep(child: &Child) {
    let begin = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
        match stat.rsplit(") ").next().and_then(|fields| fields.chars().next()) {
            Some('S') => return,
            Some('Z') => panic!("the child has ended"),
            _ => assert!(begin.elapsed() < SOON, "the child does not sleep: {stat}"),
        }
        std::thread::yield_now();
    }
}

pub(crate) fn stop(child: &Child) {
    kill(child.pid(), Signal::SIGSTOP).unwrap();
    let status = waitpid(child.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
}

pub(crate) fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().matches("memfd:crewkit").count()
}
