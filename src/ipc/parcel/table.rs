//! The descriptors of the serialisation in progress on this thread.
//!
//! A stack, because a value's `Serialize` may itself send something. Its top is the innermost one in progress:
//!
//! ```text
//!    encode(outer)                 encode(inner), called by outer's Serialize
//!    +---------------------+       +---------------------+
//!    | Encoding            |  -->  | Encoding            |  <-- attach() puts descriptors here
//!    |   fds, moving       |       |   fds, moving       |
//!    +---------------------+       +---------------------+
//! ```
//!
//! A frame is popped by its scope's drop, so a panic inside user code leaves the stack as it was and closes the
//! descriptors. No user code runs while the stack is borrowed.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;

use super::{DecodeError, EncodeError, MAX_FDS_PER_RECORD, Moving};

/// Nearly all values have no descriptors, and then a frame is a word: a map of numbers pushes two for each of them.
enum Frame {
    Encoding(Option<Box<Given>>),
    Decoding(Option<Box<Wanted>>),
}

/// What came of descriptors in a value being serialised.
#[derive(Default)]
struct Given {
    attached: Attached,
    refused: Option<EncodeError>,
}

/// What came of descriptors in a value being deserialised.
#[derive(Default)]
struct Wanted {
    fds: Vec<Option<OwnedFd>>,
    refused: Option<String>,
}

thread_local! {
    static STACK: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

const NOT_HERE: &str = "descriptors and connections can be serialised only by crewkit's own transports \
    (Connection::send, the arguments and results of processes and pools)";
const GONE: &str = "this thread is ending, and can serialise nothing any more";

/// Runs `f` on the innermost frame; `None` where nothing is in progress.
fn with_top<T>(f: impl FnOnce(&mut Frame) -> T) -> Option<T> {
    STACK.try_with(|stack| stack.borrow_mut().last_mut().map(f)).ok().flatten()
}

/// A frame on the stack, popped when this is dropped. It must not leave its thread.
struct Scope(PhantomData<*const ()>);

impl Scope {
    fn push(frame: Frame) -> Option<Self> {
        STACK.try_with(|stack| stack.borrow_mut().push(frame)).ok()?;
        Some(Self(PhantomData))
    }

    fn pop(self) -> Option<Frame> {
        let _popped_here = std::mem::ManuallyDrop::new(self);
        pop()
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // What the frame holds is dropped after the stack was given back.
        drop(pop());
    }
}

fn pop() -> Option<Frame> {
    STACK.try_with(|stack| stack.borrow_mut().pop()).ok().flatten()
}

/// What the code of a value attached to its message.
#[derive(Default)]
pub(super) struct Attached {
    pub(super) fds: Vec<OwnedFd>,
    pub(super) moving: Vec<Box<dyn Moving>>,
}

/// A value being serialised.
pub(super) struct Encoding(Scope);

impl Encoding {
    pub(super) fn begin() -> Result<Self, EncodeError> {
        Scope::push(Frame::Encoding(None)).map(Self).ok_or_else(|| EncodeError::NotSerializable(GONE.to_owned()))
    }

    /// What was attached, or why something could not be.
    pub(super) fn finish(self) -> Result<Attached, EncodeError> {
        match self.0.pop() {
            Some(Frame::Encoding(None)) => Ok(Attached::default()),
            Some(Frame::Encoding(Some(given))) => match given.refused {
                None => Ok(given.attached),
                Some(why) => Err(why),
            },
            Some(Frame::Decoding(_)) | None => Err(EncodeError::NotSerializable(GONE.to_owned())),
        }
    }
}

/// A value being deserialised.
pub(super) struct Decoding(Scope);

impl Decoding {
    pub(super) fn begin(fds: Vec<OwnedFd>) -> Result<Self, DecodeError> {
        let wanted =
            (!fds.is_empty()).then(|| Box::new(Wanted { fds: fds.into_iter().map(Some).collect(), refused: None }));
        Scope::push(Frame::Decoding(wanted)).map(Self).ok_or_else(|| DecodeError(GONE.to_owned()))
    }

    /// Closes what was not claimed; says why a claim was refused.
    pub(super) fn finish(self) -> Option<String> {
        match self.0.pop() {
            Some(Frame::Decoding(wanted)) => wanted.and_then(|wanted| wanted.refused),
            Some(Frame::Encoding(_)) | None => Some(GONE.to_owned()),
        }
    }
}

/// Puts a descriptor into the message being serialised and returns its index there. `make` runs only if there is such
/// a message and room in it; its error is the one that the sender gets.
pub(in crate::ipc) fn attach<E: serde::ser::Error>(
    make: impl FnOnce() -> Result<(OwnedFd, Option<Box<dyn Moving>>), EncodeError>,
) -> Result<u32, E> {
    let count = with_top(|frame| match frame {
        Frame::Encoding(given) => Some(given.as_ref().map_or(0, |given| given.attached.fds.len())),
        Frame::Decoding(_) => None,
    });
    let Some(count) = count.flatten() else { return Err(E::custom(NOT_HERE)) };
    let made = if count < MAX_FDS_PER_RECORD { make() } else { Err(EncodeError::TooManyFds) };
    let message = made.as_ref().err().map(ToString::to_string);
    with_top(|frame| {
        let Frame::Encoding(given) = frame else { return };
        let given = given.get_or_insert_default();
        match made {
            Ok((fd, handle)) => {
                given.attached.fds.push(fd);
                given.attached.moving.extend(handle);
            }
            Err(error) => given.refused = given.refused.take().or(Some(error)),
        }
    });
    match (message, u32::try_from(count)) {
        (None, Ok(index)) => Ok(index),
        (message, _) => Err(E::custom(message.unwrap_or_default())),
    }
}

/// Takes the descriptor with this index out of the message being deserialised, and makes of it what it should be. Serde's
/// format may lose the text of an error, so why `make` refused is also noted for the receiver.
pub(in crate::ipc) fn claim<T, E: serde::de::Error>(
    index: u32,
    make: impl FnOnce(OwnedFd) -> Result<T, String>,
) -> Result<T, E> {
    let claimed = with_top(|frame| {
        let Frame::Decoding(wanted) = frame else { return Err(NOT_HERE.to_owned()) };
        let wanted = wanted.get_or_insert_default();
        let slot = usize::try_from(index).ok().and_then(|index| wanted.fds.get_mut(index));
        let claimed = match slot.map(Option::take) {
            Some(Some(fd)) => make(fd),
            Some(None) => Err("it uses a descriptor twice".to_owned()),
            None => Err("it refers to a descriptor that did not come with it".to_owned()),
        };
        if let Err(why) = &claimed {
            wanted.refused.get_or_insert_with(|| why.clone());
        }
        claimed
    });
    claimed.unwrap_or_else(|| Err(NOT_HERE.to_owned())).map_err(E::custom)
}

#[cfg(test)]
pub(super) fn depth() -> usize {
    STACK.with(|stack| stack.borrow().len())
}
