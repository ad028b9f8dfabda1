//! Floor 5: typed messages between processes (Python's `multiprocessing.Pipe`).

pub(crate) mod parcel;
pub(crate) mod wire;
