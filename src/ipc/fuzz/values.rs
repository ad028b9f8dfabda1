//! The contents of messages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::Input;
use crate::ipc::parcel;
use crate::ipc::{
    Array, Barrier, Condition, Connection, Counter, Event, Fd, Item, Lock, Queue, RLock, Semaphore, ShareableList,
    SharedBytes, SharedMemory, Value, pipe,
};
use crate::sys::{bytes, memory};

/// Everything that can stand in a message.
#[derive(Debug, Serialize, Deserialize)]
enum Part {
    Number(u64),
    Signed(i128),
    Float(f64),
    Text(String),
    Character(char),
    Raw(Vec<u8>),
    Table(BTreeMap<String, Option<(u8, bool)>>),
    File(Fd<OwnedFd>),
    End(Box<Connection<u8, u8>>),
    Lock(Lock),
    RLock(RLock),
    Semaphore(Semaphore),
    Event(Event),
    Condition(Condition),
    Barrier(Barrier),
    Value(Value<u64>),
    Counter(Counter),
    Array(Array<u32>),
    List(ShareableList),
    Memory(SharedMemory),
    Bytes(SharedBytes),
    Queue(Queue<u8>),
}

struct Whole {
    #[cfg(test)]
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// One of each, in a parcel: the descriptors that inputs choose from, and messages that they vary.
fn whole() -> &'static Whole {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let lock = Lock::new().expect("a lock");
        let memory = SharedMemory::create(100).expect("memory");
        let parts = [
            Part::File(Fd(File::open("/dev/null").expect("/dev/null").into())),
            Part::End(Box::new(pipe().expect("a pipe").0)),
            Part::Condition(Condition::new(&lock).expect("a condition")),
            Part::Lock(lock),
            Part::RLock(RLock::new().expect("a lock")),
            Part::Semaphore(Semaphore::new(2).expect("a semaphore")),
            Part::Event(Event::new().expect("an event")),
            Part::Barrier(Barrier::new(2).expect("a barrier")),
            Part::Value(Value::new(3).expect("a value")),
            Part::Counter(Counter::new(4).expect("a counter")),
            Part::Array(Array::new(&[1, 2, 3]).expect("an array")),
            Part::List(ShareableList::new([Item::from("text"), 5.into()]).expect("a list")),
            Part::Memory(memory),
            Part::Bytes(SharedBytes::new(b"bytes").expect("bytes")),
            Part::Queue(Queue::bounded(2).expect("a queue")),
        ];
        let mut parcel = parcel::encode(&parts[..]).expect("a parcel");
        let pipe_end: OwnedFd = io::pipe().expect("a pipe").0.into();
        let unsealed: OwnedFd = memory::file().expect("a file").into();
        let plain = bytes::create(4096).expect("a file");
        let mut fds = std::mem::take(&mut parcel.fds);
        fds.extend([pipe_end, unsealed, plain]);
        Whole {
            #[cfg(test)]
            bytes: std::mem::take(&mut parcel.bytes),
            fds,
        }
    })
}

/// Decodes the input as a message with descriptors that it chooses: of each object, and of what is none.
pub fn value(data: &[u8]) {
    let mut input = Input(data);
    let choices = &whole().fds;
    let count = input.below(8);
    let fds = (0..count).map(|_| {
        let chosen = &choices[input.below(choices.len())];
        chosen.as_fd().try_clone_to_owned().expect("a descriptor")
    });
    let fds = fds.collect();
    let Ok(parts) = parcel::decode::<Vec<Part>>(input.0, fds) else { return };
    // What was taken can be looked at, and sent on.
    assert!(!format!("{parts:?}").is_empty());
    if let Ok(mut again) = parcel::encode(&parts) {
        let fds = std::mem::take(&mut again.fds);
        assert!(parcel::decode::<Vec<Part>>(&again.bytes, fds).is_ok(), "what was encoded is decoded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each is a message, too: what the inputs vary is not refused for want of something.
    #[test]
    fn one_of_each_is_decoded() {
        let fds = whole().fds.iter().map(|fd| fd.as_fd().try_clone_to_owned().unwrap()).collect();
        assert_eq!(parcel::decode::<Vec<Part>>(&whole().bytes, fds).unwrap().len(), 15);
    }
}
