//! Files and sockets in messages: [`Fd`], and the functions for `#[serde(with = "crewkit::ipc::fd")]`.
//!
//! The receiver gets a descriptor of its own for the same open file (SCM_RIGHTS); the sender's stays open. Both share
//! the position in the file and its flags: what one makes non-blocking is so for the other.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use std::fs::File;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Job {
//!     name: String,
//!     #[serde(with = "crewkit::ipc::fd")]
//!     input: File,
//! }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (near, far) = crewkit::ipc::pipe::<Job, ()>()?;
//! near.send(&Job { name: "self".into(), input: File::open("/proc/self/stat")? })?;
//! let job = far.recv()?;
//! assert!(std::io::read_to_string(job.input)?.contains('('));
//! # Ok(())
//! # }
//! ```

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parcel::{EncodeError, attach, claim};
use crate::sys::socket::duplicate;

/// A file or socket that may stand anywhere in a message (Python: a socket or a connection among the arguments).
///
/// For `T` that lends its descriptor and can be made from one: [`OwnedFd`], [`File`](std::fs::File), the sockets of
/// [`std::net`] and [`std::os::unix::net`], pipe ends. Serialising it outside of crewkit's transports is an error.
///
/// ```
/// use crewkit::ipc::{Fd, pipe};
/// use std::io::Write;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (near, far) = pipe::<Fd<std::io::PipeWriter>, ()>()?;
/// let (reader, writer) = std::io::pipe()?;
/// near.send(&Fd(writer))?;
/// let Fd(mut writer) = far.recv()?;
/// writer.write_all(b"through")?;
/// drop(writer);
/// assert_eq!(std::io::read_to_string(reader)?, "through");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Fd<T>(pub T);

impl<T> Fd<T> {
    /// The file or socket itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for Fd<T> {
    fn from(file: T) -> Self {
        Self(file)
    }
}

impl<T> Deref for Fd<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Fd<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: AsFd> AsFd for Fd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: AsFd> Serialize for Fd<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Fd<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

/// Puts a duplicate of the file's descriptor into the message being sent.
///
/// # Errors
///
/// Outside of crewkit's transports; when the message holds 253 descriptors already; when this process may open no more.
pub fn serialize<T: AsFd, S: Serializer>(file: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let index = attach(|| Ok((duplicate(file.as_fd()).map_err(EncodeError::Io)?, None)))?;
    serializer.serialize_u32(index)
}

/// Takes the descriptor out of the message being received.
///
/// # Errors
///
/// Outside of crewkit's transports, and for a message that refers to a descriptor which did not come with it, or twice
/// to the same.
pub fn deserialize<'de, T: From<OwnedFd>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    claim(u32::deserialize(deserializer)?, Ok).map(T::from)
}
