//! Functions by name, for other processes that run the same executable.
//!
//! A function or a closure without captures has no data, so its type is all there is to it. [`Function::of`] takes
//! the address of a trampoline that was compiled for that type, as an offset into the main executable; the process
//! that receives the offset adds its own load bias, and the trampoline makes the function out of nothing:
//!
//! ```text
//!   owner                                         child, the same executable elsewhere in memory
//!   trampoline::<F, A, R>  ──►  offset, identity  ──►  identity equal? offset in code?  ──►  call(bytes, fds)
//! ```
//!
//! An offset is a call target and never a key: the linker may give two functions with equal code one address.
//!
//! # Safety
//!
//! 1. The only address ever called was made by [`Function::of`] from a `Trampoline`, in a process whose executable
//!    has the same identity; [`Function::call`] refuses another identity and an address that is not code. A
//!    `Function` therefore travels only between processes of one program, which trust each other.
//! 2. A value of the zero-sized `F` existed in the process that named it, and `F: Copy + Send + Sync + 'static`, so a
//!    copy of it may be made on any thread at any time. What such a value proves to exist (a token that shows that
//!    something was initialised) is not true in another process; that is documented as unsupported.
#![expect(unsafe_code, reason = "a function is called by its address, and made from its type")]

use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::SpawnError;
use crate::ipc::parcel::{self, Parcel};
use crate::panics::{self, PanicReport};
use crate::sys::elf::{Identity, Image};

/// A function of this program that other processes of it can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    offset: u64,
    identity: Identity,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It returned; this is the encoded result.
    Returned(Parcel),
    /// It panicked.
    Panicked(PanicReport),
    /// The argument could not be decoded, and the function was not called.
    BadArgument(String),
    /// It returned, and the result could not be encoded.
    BadResult(String),
}

type Trampoline = fn(&[u8], Vec<OwnedFd>) -> Outcome;

impl Function {
    /// Names `f`. Captures do not compile: pass them as arguments.
    pub(crate) fn of<F, A, R>(_f: F) -> Result<Self, SpawnError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: DeserializeOwned,
        R: Serialize,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "the function must be a fn item or a closure without captures (not a fn pointer): pass what it \
                 captures as an argument"
            );
        };
        let trampoline: Trampoline = trampoline::<F, A, R>;
        let image = Image::main();
        let offset = image.offset_of(trampoline as usize).ok_or(SpawnError::NotInExecutable)?;
        Ok(Self { offset, identity: image.identity() })
    }

    /// Whether this process can call it, and if not, why.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.resolve().map(drop)
    }

    /// [`call`](Self::call) of a function whose argument and result are `()`; what went wrong.
    pub(super) fn call_plain(&self) -> Result<(), String> {
        match self.call(&[], Vec::new()) {
            Outcome::Returned(_) => Ok(()),
            Outcome::Panicked(PanicReport { message, location, .. }) => {
                Err(format!("panicked at {location}: {message}"))
            }
            Outcome::BadArgument(why) | Outcome::BadResult(why) => Err(why),
        }
    }

    /// Decodes the argument, calls the function, encodes the result. A panic on the way is an outcome.
    pub(crate) fn call(&self, argument: &[u8], fds: Vec<OwnedFd>) -> Outcome {
        match self.resolve() {
            Ok(trampoline) => panics::catch(|| trampoline(argument, fds)).unwrap_or_else(Outcome::Panicked),
            Err(reason) => Outcome::BadArgument(reason),
        }
    }

    fn resolve(&self) -> Result<Trampoline, String> {
        let image = Image::main();
        if image.identity() != self.identity {
            return Err("the function was named by another build of the program".to_owned());
        }
        let address = image.address_of(self.offset).ok_or("the function is outside the program's code")?;
        let address = std::ptr::with_exposed_provenance::<()>(address);
        // SAFETY: invariant 1: the address is that of a `Trampoline`.
        Ok(unsafe { std::mem::transmute::<*const (), Trampoline>(address) })
    }
}

fn trampoline<F, A, R>(argument: &[u8], fds: Vec<OwnedFd>) -> Outcome
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: DeserializeOwned,
    R: Serialize,
{
    // SAFETY: invariant 2; a value of size zero is read from no bytes, at any aligned address.
    let f = unsafe { NonNull::<F>::dangling().read() };
    apply(f, argument, fds)
}

/// Calls what needs an argument, in a process that was forked for it. The argument goes through its encoding like any
/// other, so that handles in it are the child's own.
pub(super) fn call_here_with<F, A, R>(f: F, argument: &[u8], fds: Vec<OwnedFd>) -> Outcome
where
    F: Fn(A) -> R,
    A: DeserializeOwned,
    R: Serialize,
{
    panics::catch(|| apply(f, argument, fds)).unwrap_or_else(Outcome::Panicked)
}

fn apply<F: Fn(A) -> R, A: DeserializeOwned, R: Serialize>(f: F, argument: &[u8], fds: Vec<OwnedFd>) -> Outcome {
    match parcel::decode::<A>(argument, fds) {
        Ok(argument) => encode(&f(argument)),
        Err(error) => Outcome::BadArgument(error.to_string()),
    }
}

/// Calls what needs no argument, in a process that was forked for it.
pub(super) fn call_here<R: Serialize>(f: impl FnOnce() -> R) -> Outcome {
    panics::catch(|| encode(&f())).unwrap_or_else(Outcome::Panicked)
}

fn encode<R: Serialize>(result: &R) -> Outcome {
    match parcel::encode(result) {
        Ok(parcel) => Outcome::Returned(parcel),
        Err(error) => Outcome::BadResult(error.to_string()),
    }
}
