//! The descriptors of the serialisation in progress on this thread.
//!
//! A stack, because a value's `Serialize` may itself send something. Nearly all values have no descriptors, so what is in
//! progress is one word, `TOP`, that each scope puts back; a frame is made by the first descriptor alone:
//!
//! ```text
//!    encode(outer)                 encode(inner), called by outer's Serialize
//!    TOP  Encoding(true)           TOP  Encoding(false), and Encoding(true) in inner's scope
//!    +---------------------+       +---------------------+
//!    | Given: fds, moving  |       | Given: outer's      |   inner's would be put on top of it by its first attach()
//!    +---------------------+       +---------------------+
//! ```
//!
//! A frame is popped by its scope's drop, so a panic inside user code leaves both as they were and closes the descriptors.
//! No user code runs while the stack is borrowed.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;

use super::{DecodeError, EncodeError, MAX_FDS_PER_RECORD, Moving};

/// The innermost value in progress, and whether it has a frame on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Top {
    Nothing,
    Encoding(bool),
    Decoding(bool),
}

enum Frame {
    Encoding(Given),
    Decoding(Wanted),
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
    static TOP: Cell<Top> = const { Cell::new(Top::Nothing) };
    static STACK: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

const NOT_HERE: &str = "descriptors and connections can be serialised only by crewkit's own transports \
    (Connection::send, the arguments and results of processes and pools)";
const GONE: &str = "this thread is ending, and can serialise nothing any more";

/// Runs `f` on the innermost frame, which there is.
fn with_frame<T>(f: impl FnOnce(&mut Frame) -> T) -> Option<T> {
    STACK.try_with(|stack| stack.borrow_mut().last_mut().map(f)).ok().flatten()
}

/// Makes the frame of the innermost value in progress; whether there is one now.
#[cold]
fn push(frame: Frame) -> bool {
    let top = match frame {
        Frame::Encoding(_) => Top::Encoding(true),
        Frame::Decoding(_) => Top::Decoding(true),
    };
    let is_pushed = STACK.try_with(|stack| stack.borrow_mut().push(frame)).is_ok();
    if is_pushed {
        TOP.set(top);
    }
    is_pushed
}

#[cold]
fn pop() -> Option<Frame> {
    STACK.try_with(|stack| stack.borrow_mut().pop()).ok().flatten()
}

/// A value in progress, which is no more when this is dropped: then the one around it is innermost again. It must not
/// leave its thread.
struct Scope {
    outer: Top,
    _here: PhantomData<*const ()>,
}

impl Scope {
    #[inline]
    fn begin(inner: Top) -> Self {
        Self { outer: TOP.replace(inner), _here: PhantomData }
    }

    /// Its frame, if it has one.
    #[inline]
    fn end(self) -> Option<Frame> {
        std::mem::ManuallyDrop::new(self).take()
    }

    #[inline]
    fn take(&self) -> Option<Frame> {
        match TOP.replace(self.outer) {
            Top::Encoding(true) | Top::Decoding(true) => pop(),
            Top::Encoding(false) | Top::Decoding(false) | Top::Nothing => None,
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // What the frame holds is dropped after the stack was given back.
        drop(self.take());
    }
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
    #[inline]
    pub(super) fn begin() -> Self {
        Self(Scope::begin(Top::Encoding(false)))
    }

    /// What was attached, or why something could not be.
    #[inline]
    pub(super) fn finish(self) -> Result<Attached, EncodeError> {
        match self.0.end() {
            None => Ok(Attached::default()),
            Some(Frame::Encoding(Given { attached, refused: None })) => Ok(attached),
            Some(Frame::Encoding(Given { refused: Some(why), .. })) => Err(why),
            Some(Frame::Decoding(_)) => Err(EncodeError::NotSerializable(GONE.to_owned())),
        }
    }
}

/// A value being deserialised.
pub(super) struct Decoding(Scope);

impl Decoding {
    #[inline]
    pub(super) fn begin(fds: Vec<OwnedFd>) -> Result<Self, DecodeError> {
        let scope = Scope::begin(Top::Decoding(false));
        if !fds.is_empty() && !push(Frame::Decoding(Wanted { fds: fds.into_iter().map(Some).collect(), refused: None }))
        {
            return Err(DecodeError(GONE.to_owned()));
        }
        Ok(Self(scope))
    }

    /// Closes what was not claimed; says why a claim was refused.
    #[inline]
    pub(super) fn finish(self) -> Option<String> {
        match self.0.end() {
            None => None,
            Some(Frame::Decoding(wanted)) => wanted.refused,
            Some(Frame::Encoding(_)) => Some(GONE.to_owned()),
        }
    }
}

/// Puts a descriptor into the message being serialised and returns its index there. `make` runs only if there is such
/// a message and room in it; its error is the one that the sender gets.
pub(in crate::ipc) fn attach<E: serde::ser::Error>(
    make: impl FnOnce() -> Result<(OwnedFd, Option<Box<dyn Moving>>), EncodeError>,
) -> Result<u32, E> {
    let count = match TOP.get() {
        Top::Encoding(true) => with_frame(|frame| match frame {
            Frame::Encoding(given) => Some(given.attached.fds.len()),
            Frame::Decoding(_) => None,
        })
        .flatten(),
        Top::Encoding(false) => push(Frame::Encoding(Given::default())).then_some(0),
        Top::Decoding(_) | Top::Nothing => None,
    };
    let Some(count) = count else { return Err(E::custom(NOT_HERE)) };
    let made = if count < MAX_FDS_PER_RECORD { make() } else { Err(EncodeError::TooManyFds) };
    let message = made.as_ref().err().map(ToString::to_string);
    with_frame(|frame| {
        let Frame::Encoding(given) = frame else { return };
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
    let is_here = match TOP.get() {
        Top::Decoding(true) => true,
        Top::Decoding(false) => push(Frame::Decoding(Wanted::default())),
        Top::Encoding(_) | Top::Nothing => false,
    };
    let claimed = is_here.then(|| {
        with_frame(|frame| {
            let Frame::Decoding(wanted) = frame else { return Err(NOT_HERE.to_owned()) };
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
        })
    });
    claimed.flatten().unwrap_or_else(|| Err(NOT_HERE.to_owned())).map_err(E::custom)
}

#[cfg(test)]
pub(super) fn depth() -> usize {
    STACK.with(|stack| stack.borrow().len()) + usize::from(TOP.get() != Top::Nothing)
}
