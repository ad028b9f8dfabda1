//! Sealed memfd segments and their mappings.
