//! SEQPACKET pairs, and records with descriptors in them.
