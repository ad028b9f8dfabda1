//! posix_spawn of this program's own executable.
