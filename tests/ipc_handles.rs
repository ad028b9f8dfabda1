//! What all handles have in common: what a user may do with one, whichever it is. The compiler holds it.

#![cfg(feature = "processes")]

use std::error::Error;
use std::fmt::Debug;
use std::fs::File;
use std::os::fd::AsFd;

use crewkit::ipc::{
    AcceptError, Address, Array, Auth, AuthError, Barrier, BarrierError, BoundedSemaphore, Condition, ConnectError,
    Connection, Counter, Event, Fd, GetError, Lease, ListError, Listener, Lock, LockError, NotOwner, OutOfRange,
    OwnedPermit, PutError, Queue, RLock, Readiness, RecvError, RecvHalf, ReleaseError, SealError, Semaphore, SendError,
    SendHalf, ShareableList, SharedBytes, SharedMemory, Value,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// For any number of threads and processes.
fn is_shared<T: Clone + Debug + Send + Sync + Serialize + DeserializeOwned + 'static>() {}

/// As that, and two that are the same object say so.
fn is_shared_and_knows_itself<T: Eq + Clone + Debug + Send + Sync + Serialize + DeserializeOwned + 'static>() {}

/// For one owner, who may send it away.
fn moves<T: Debug + Send + Serialize + DeserializeOwned + 'static>() {}

/// For one owner, on whichever thread.
fn stays<T: Debug + Send + 'static>() {}

fn can_be_waited_for<T: AsFd>() {}

fn is_an_error<T: Error + Send + Sync + 'static>() {}

/// Neither `Send` nor serde has been asked of what they carry.
type Anything = std::rc::Rc<u8>;

#[test]
fn handles_go_wherever_they_are_needed() {
    is_shared_and_knows_itself::<Lock>();
    is_shared_and_knows_itself::<RLock>();
    is_shared_and_knows_itself::<Condition>();
    is_shared_and_knows_itself::<Condition<RLock>>();
    is_shared_and_knows_itself::<Semaphore>();
    is_shared_and_knows_itself::<BoundedSemaphore>();
    is_shared_and_knows_itself::<Event>();
    is_shared_and_knows_itself::<Barrier>();
    is_shared_and_knows_itself::<Queue<Anything>>();
    is_shared_and_knows_itself::<Value<u8>>();
    is_shared_and_knows_itself::<Array<u8>>();
    is_shared_and_knows_itself::<Counter>();
    is_shared_and_knows_itself::<ShareableList>();
    is_shared_and_knows_itself::<SharedBytes>();
    is_shared_and_knows_itself::<Address>();
    is_shared::<SharedMemory>();
    moves::<Connection<Anything, Anything>>();
    moves::<Fd<File>>();
    stays::<SendHalf<Anything>>();
    stays::<RecvHalf<Anything>>();
    stays::<Listener>();
    stays::<Lease<u8>>();
    stays::<OwnedPermit>();
    stays::<OwnedPermit<BoundedSemaphore>>();
    stays::<Auth>();
    can_be_waited_for::<Connection<Anything, Anything>>();
    can_be_waited_for::<SendHalf<Anything>>();
    can_be_waited_for::<RecvHalf<Anything>>();
    can_be_waited_for::<Listener>();
    can_be_waited_for::<Readiness>();
    can_be_waited_for::<Fd<File>>();
}

#[test]
fn errors_go_through_a_question_mark() {
    is_an_error::<SendError>();
    is_an_error::<RecvError>();
    is_an_error::<LockError>();
    is_an_error::<NotOwner>();
    is_an_error::<GetError>();
    is_an_error::<GetError<Vec<u8>>>();
    is_an_error::<PutError<u8>>();
    is_an_error::<ReleaseError>();
    is_an_error::<BarrierError>();
    is_an_error::<ListError>();
    is_an_error::<OutOfRange>();
    is_an_error::<SealError>();
    is_an_error::<AcceptError>();
    is_an_error::<ConnectError>();
    is_an_error::<AuthError>();
}
