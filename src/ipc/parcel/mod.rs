//! A value as bytes and descriptors, and back.
//!
//! serde sees only the value; the descriptors in it go past serde through a table of the thread (`table`): whoever
//! serialises one puts it there and writes its index into the bytes. A handle that can have one owner only (the end of
//! a connection) is *moved*: the sender's copy is spent by [`Parcel::commit`], once the message was sent, and untouched
//! if it was not.

mod input;
mod table;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::socket::MAX_FDS_PER_RECORD;

use input::Input;
pub(super) use table::{attach, claim};

/// The sender's copy of a handle that is being moved. Dropping it unspent leaves that copy as it was.
pub(crate) trait Moving: Send {
    /// The message was sent: the sender's copy is no longer its own.
    fn spend(self: Box<Self>);

    /// This is the copy in a process that was forked to receive the message: what it inherited of the handle must not
    /// stand beside what it receives.
    fn sever(self: Box<Self>);
}

/// A serialised value, ready to be sent by any of the crate's transports.
pub(crate) struct Parcel {
    /// What serde wrote.
    pub(crate) bytes: Vec<u8>,
    /// The descriptors that the bytes refer to by index.
    pub(crate) fds: Vec<OwnedFd>,
    moving: Vec<Box<dyn Moving>>,
}

impl Parcel {
    /// The message was sent: handles in it that can have one owner are now the receiver's.
    pub(crate) fn commit(&mut self) {
        self.fds.clear();
        for handle in self.moving.drain(..) {
            handle.spend();
        }
    }

    /// In a child that was forked to be the receiver: gives up what it inherited of handles that can have one owner.
    pub(crate) fn sever(&mut self) {
        for handle in self.moving.drain(..) {
            handle.sever();
        }
    }

    /// The descriptors, as a transport wants them.
    pub(crate) fn borrowed_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.fds.iter().map(std::os::fd::AsFd::as_fd).collect()
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, fds, moving } = self;
        f.debug_struct("Parcel")
            .field("bytes", &bytes.len())
            .field("fds", &fds.len())
            .field("moving", &moving.len())
            .finish()
    }
}

/// Why a value cannot be sent. Nothing was sent, and no handle in it has changed.
#[derive(Debug)]
pub(crate) enum EncodeError {
    /// serde or its format refused; what they said, and of which type.
    NotSerializable(String),
    /// More than 253 descriptors in one value.
    TooManyFds,
    /// A handle in the value was already sent to another process.
    Moved,
    /// A handle in the value was inherited by fork, not handed over.
    ForeignProcess,
    /// The kernel refused to duplicate a descriptor.
    Io(io::Error),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSerializable(why) => f.write_str(why),
            Self::TooManyFds => write!(f, "more than {MAX_FDS_PER_RECORD} descriptors in one message"),
            Self::Moved => f.write_str("a handle in the message was already sent to another process"),
            Self::ForeignProcess => {
                f.write_str("a handle in the message belongs to the process this one was forked from")
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Why bytes and descriptors are not a value of the type asked for. The descriptors were closed.
#[derive(Debug)]
pub(crate) struct DecodeError(String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// Serialises a value. May be called from inside another value's `Serialize`: each parcel has its own descriptors.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Parcel, EncodeError> {
    let mut bytes = Vec::with_capacity(64);
    let parcel = encode_onto(value, &mut bytes)?;
    Ok(Parcel { bytes, ..parcel })
}

/// [`encode`], at the end of `bytes`; the parcel has the descriptors and no bytes of its own. After an error `bytes` is
/// as it was.
pub(crate) fn encode_onto<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<Parcel, EncodeError> {
    let before = bytes.len();
    let encoded = (|| {
        let scope = table::Encoding::begin();
        let written = postcard::serialize_with_flavor(value, Onto(bytes));
        let table::Attached { fds, moving } = scope.finish()?;
        let name = || std::any::type_name::<T>();
        written.map_err(|error| {
            EncodeError::NotSerializable(format!("a value of type {} cannot be serialised: {error}", name()))
        })?;
        Ok(Parcel { bytes: Vec::new(), fds, moving })
    })();
    encoded.inspect_err(|_| bytes.truncate(before))
}

/// postcard's output, at the end of what is there.
struct Onto<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Onto<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    /// A number comes as the few bytes that it takes, for which a call of memcpy costs more than all else.
    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() > 10 {
            self.0.extend_from_slice(bytes);
            return Ok(());
        }
        let mut rest = bytes;
        while let Some((four, more)) = rest.split_first_chunk::<4>() {
            self.0.extend_from_slice(four);
            rest = more;
        }
        if let Some((two, more)) = rest.split_first_chunk::<2>() {
            self.0.extend_from_slice(two);
            rest = more;
        }
        if let [byte] = *rest {
            self.0.push(byte);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The value that was serialised, if it is not [too deep](input). Descriptors that it does not take are closed, also when
/// this fails or panics.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<T, DecodeError> {
    let scope = table::Decoding::begin(fds)?;
    let is_too_deep = Cell::new(false);
    let mut input = postcard::Deserializer::from_flavor(Input::new::<T>(bytes, &is_too_deep));
    let read = T::deserialize(&mut input).and_then(|value| Ok((value, input.finalize()?)));
    let refused = scope.finish();
    let name = std::any::type_name::<T>();
    let why = match (read, refused) {
        (Ok((value, [])), None) => return Ok(value),
        (Err(_), None) if is_too_deep.get() => "it contains itself too many times".to_owned(),
        (_, Some(why)) => why,
        (Err(error), None) => error.to_string(),
        (Ok((_, rest)), None) => format!("{} bytes are left over", rest.len()),
    };
    Err(DecodeError(format!("the message is not a value of type {name}: {why}")))
}

#[cfg(test)]
mod tests;
