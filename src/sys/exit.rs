//! A call when the process ends.
//!
//! # Safety
//!
//! The function is never unloaded before libc has called it: `atexit` belongs to the object that it is linked into, so the
//! function runs when that is unloaded.

#![expect(unsafe_code, reason = "atexit has no wrapper in std")]

use std::io;

/// Has `hook` called when the process ends by exit(3): a call of `std::process::exit`, or the end of `main`.
pub(crate) fn at_exit(hook: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the hook is a function of this object, see above.
    match unsafe { libc::atexit(hook) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}
