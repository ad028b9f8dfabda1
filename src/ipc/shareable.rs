//! What may be shared between processes by its bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A type that another process understands from its bytes alone: plain data without padding, pointers or forbidden values.
///
/// Numbers and arrays of them are. A struct or union of yours is when it derives zerocopy's three traits, which check
/// that at compile time; it is `repr(C)`, and what would be padding is a field. `bool`, `char`, references, `String` and
/// `Vec` are not: any of their bytes may be changed by the other process to what they must never be.
///
/// ```
/// use crewkit::ipc::Value;
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(Clone, Copy, FromBytes, Immutable, IntoBytes)]
/// #[repr(C)]
/// struct Progress {
///     done: u64,
///     failed: u32,
///     is_over: u32,
/// }
///
/// let progress = Value::new(Progress { done: 0, failed: 0, is_over: 0 })?;
/// progress.update(|progress| progress.done += 1)?;
/// assert_eq!(progress.get()?.done, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0277
/// let text = crewkit::ipc::Value::new("a pointer into this process"); // the trait bound is not satisfied
/// ```
///
/// ```compile_fail,E0277
/// let flag = crewkit::ipc::Value::new(true); // 2 would be undefined behaviour
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in memory that processes share",
    note = "numbers and arrays of them can, and structs that derive zerocopy's FromBytes, Immutable, IntoBytes, and are Copy",
    note = "for a flag take a `u8` or an `ipc::Event`, for texts an `ipc::ShareableList`"
)]
pub trait Shareable: FromBytes + IntoBytes + Immutable + Copy + Send + Sync + 'static {}

impl<T: FromBytes + IntoBytes + Immutable + Copy + Send + Sync + 'static> Shareable for T {}
