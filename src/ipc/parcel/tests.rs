//! Descriptors through serde: every way in which a value's own code can go wrong.

use super::*;
use crate::sys::clock::Deadline;
use crate::sys::poll::{Readiness, wait};
use crate::sys::socket::await_news;
use serde::{Deserialize, Deserializer, Serializer};
use std::cell::Cell;
use std::io::Read;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A pipe's writer: whoever still holds it keeps the reader from seeing the end.
struct Handle(OwnedFd);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = attach(|| Ok((self.0.try_clone().map_err(EncodeError::Io)?, None)))?;
        serializer.serialize_u32(index)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        claim(u32::deserialize(deserializer)?, Ok).map(Self)
    }
}

fn handle() -> (io::PipeReader, Handle) {
    let (reader, writer) = io::pipe().unwrap();
    (reader, Handle(writer.into()))
}

/// Waits until every copy of the writer is closed.
fn assert_closed(reader: &mut io::PipeReader) {
    await_news(reader.as_fd());
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

fn assert_open(reader: &io::PipeReader) {
    assert!(!wait(reader.as_fd(), Readiness::READ, Deadline::after(Duration::ZERO)).unwrap().any());
}

#[test]
fn values_and_descriptors_come_back_in_order() {
    let (mut reader, writer) = handle();
    let (mut other_reader, other) = handle();
    let mut parcel = encode(&("text", &writer, vec![1, 2, 3], Some(&other))).unwrap();
    assert_eq!(parcel.fds.len(), 2);
    let fds = std::mem::take(&mut parcel.fds);
    let (text, first, numbers, second): (String, Handle, Vec<i32>, Option<Handle>) =
        decode(&parcel.bytes, fds).unwrap();
    assert_eq!((text.as_str(), numbers), ("text", vec![1, 2, 3]));
    drop((writer, other, first));
    assert_closed(&mut reader);
    assert_open(&other_reader);
    drop(second);
    assert_closed(&mut other_reader);
    assert_eq!(table::depth(), 0);
}

#[test]
fn outside_a_transport_it_is_an_error_that_says_so() {
    let (_reader, writer) = handle();
    let error = attach::<serde::de::value::Error>(|| unreachable!()).unwrap_err();
    assert!(error.to_string().contains("Connection::send"), "{error}");
    assert!(postcard::to_stdvec(&writer).is_err());
    let error = claim::<_, serde::de::value::Error>(0, Ok).unwrap_err();
    assert!(error.to_string().contains("Connection::send"), "{error}");
    assert!(postcard::from_bytes::<Handle>(&[0]).is_err());
}

#[test]
fn unknown_and_repeated_indices_are_errors_and_everything_is_closed() {
    for (bytes, word) in [(vec![0, 0], "twice"), (vec![0, 7], "did not come"), (vec![0], "end of buffer")] {
        let (mut reader, writer) = handle();
        let error = decode::<(Handle, Handle)>(&bytes, vec![writer.0]).err().unwrap();
        assert!(error.to_string().to_lowercase().contains(word), "{error}");
        assert_closed(&mut reader);
    }
}

#[test]
fn bytes_left_over_are_an_error_and_descriptors_left_over_are_closed() {
    let (mut reader, writer) = handle();
    assert!(decode::<u8>(&[1, 2], Vec::new()).unwrap_err().to_string().contains("1 bytes are left over"));
    assert_eq!(decode::<u8>(&[1], vec![writer.0]).unwrap(), 1);
    assert_closed(&mut reader);
}

#[test]
fn the_limit_of_descriptors_is_its_own_error() {
    let (_reader, writer) = handle();
    let many: Vec<&Handle> = vec![&writer; MAX_FDS_PER_RECORD];
    assert_eq!(encode(&many).unwrap().fds.len(), MAX_FDS_PER_RECORD);
    assert!(matches!(encode(&(many, &writer)), Err(EncodeError::TooManyFds)));
}

struct Fails;

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in serialize")
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("in deserialize")
    }
}

#[test]
fn failures_and_panics_close_what_was_attached() {
    let (mut reader, writer) = handle();
    let error = encode(&(&writer, Fails)).unwrap_err();
    assert!(error.to_string().contains("Fails"), "{error}");
    assert!(catch_unwind(AssertUnwindSafe(|| encode(&(&writer, Panics)))).is_err());
    assert_eq!(table::depth(), 0);
    let copy = writer.0.try_clone().unwrap();
    let decoded = catch_unwind(AssertUnwindSafe(|| decode::<(Handle, Panics)>(&[0], vec![copy])));
    assert!(decoded.is_err());
    assert_eq!(table::depth(), 0);
    drop(writer);
    assert_closed(&mut reader);
}

thread_local! {
    static INNER: Cell<Option<Parcel>> = const { Cell::new(None) };
}

struct Nests<'a>(&'a Handle);

impl Serialize for Nests<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        INNER.set(Some(encode(&(self.0, self.0)).unwrap()));
        self.0.serialize(serializer)
    }
}

#[test]
fn a_parcel_made_inside_another_has_its_own_descriptors() {
    let (_reader, writer) = handle();
    let outer = encode(&Nests(&writer)).unwrap();
    assert_eq!(outer.fds.len(), 1);
    assert_eq!(INNER.take().unwrap().fds.len(), 2);
}

struct Token(Arc<AtomicBool>);

impl Moving for Token {
    fn spend(self: Box<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn sever(self: Box<Self>) {}
}

struct Unique(Arc<AtomicBool>, Handle);

impl Serialize for Unique {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let copy = self.1.0.try_clone().map_err(serde::ser::Error::custom)?;
        let token = Box::new(Token(Arc::clone(&self.0)));
        serializer.serialize_u32(attach(|| Ok((copy, Some(token))))?)
    }
}

#[test]
fn a_moved_handle_is_spent_by_the_commit_and_by_nothing_else() {
    let (_reader, writer) = handle();
    let spent = Arc::new(AtomicBool::new(false));
    let unique = Unique(Arc::clone(&spent), writer);
    drop(encode(&unique).unwrap());
    assert!(encode(&(&unique, Fails)).is_err());
    assert!(!spent.load(Ordering::Relaxed));
    let mut parcel = encode(&unique).unwrap();
    parcel.commit();
    assert!(spent.load(Ordering::Relaxed));
}
