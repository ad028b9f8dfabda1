//! Listening sockets and their connections.
