//! Floor 3: the one codec of the crate: messages as capped, length-prefixed chunks.
