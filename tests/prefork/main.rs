//! The pre-fork server from outside: programs built on it, as child processes, under load, signals and kills.
//!
//! | File | What is in it |
//! |---|---|
//! | `server.rs` | a server under test: its lines, its workers, its end |
//! | `client.rs` | a client, and a load whose every outcome is told apart |
//! | `probe.rs` | the server for most tests: it does on request what a service may do wrong |
//! | `serving.rs` | connections and threads: who is served when |
//! | `deaths.rs` | kills of workers and of the master, panics, boots that fail |
//! | `changing.rs` | reloads, more and fewer workers |
//! | `ending.rs` | every way to stop it |
//! | `http.rs`, `hostile.rs`, `paths.rs` | the example `prefork_server`: HTTP as it should be, as it should not be, and files |

#![cfg(feature = "server")]

mod changing;
mod client;
mod deaths;
mod ending;
mod hostile;
mod http;
mod paths;
mod server;
mod serving;
