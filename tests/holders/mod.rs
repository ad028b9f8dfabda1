//! Children that hold something of an object in shared memory, and how they are stopped.

mod mappings;

use std::time::Duration;

use crewkit::ipc::Connection;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alone::{Child, peer};
pub(crate) use mappings::mappings;

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

/// Stops the child, and waits until it stands still.
pub(crate) fn stop(child: &Child) {
    kill(child.pid(), Signal::SIGSTOP).unwrap();
    let status = waitpid(child.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
}
