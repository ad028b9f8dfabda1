//! A service for processes that were handed nothing but its address and a secret.
//!
//! ```text
//! cargo run --example strangers
//! cargo run --example strangers 127.0.0.1:8000
//! ```
//!
//! Without an address the service has a name on this machine; with one it is at that of TCP, where clients could come from other
//! hosts, too. Three clients ask how long their words are. A fourth one guesses the secret: it is turned away, and nobody else notices.

use std::error::Error;
use std::time::{Duration, Instant};

use crewkit::ipc::{AcceptError, Address, Auth, Client, Connection, Key, Listener};
use crewkit::process::Process;

const WORDS: [&str; 3] = ["short", "longer", "the longest"];
/// In this time all of them have come.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    crewkit::init();
    let secret = "kept in a file that only the right people can read";
    let address = std::env::args().nth(1).map_or_else(Address::unique, Address::tcp)?;
    let listener = Listener::bind(address, Auth::Key(Key::new(secret)))?;

    let client = |secret: &str, word: &str| {
        Process::spawn(ask, (listener.address().clone(), secret.to_owned(), word.to_owned()))
    };
    let intruder = client("a guess", "let me in")?;
    let clients = WORDS.map(|word| client(secret, word));

    let begin = Instant::now();
    let mut left = WORDS.len();
    while left > 0 || listener.refusals().total == 0 {
        let end: Connection<usize, String> = match listener.accept_timeout(Duration::from_millis(100)) {
            Ok(end) => end,
            // A client that fails does not come.
            Err(AcceptError::Timeout) if begin.elapsed() < PATIENCE => continue,
            Err(error) => return Err(error.into()),
        };
        end.send(&end.recv()?.len())?;
        left -= 1;
    }

    for client in clients {
        println!("{}", client?.join()?);
    }
    println!("{}", intruder.join()?);
    Ok(())
}

/// A client, which knows what it was told.
fn ask((address, secret, word): (Address, String, String)) -> String {
    let end: Connection<String, usize> = match Client::connect(address, Auth::Key(Key::new(secret))) {
        Ok(end) => end,
        Err(error) => return format!("{word}: {error}"),
    };
    let answer =
        end.send(&word).map_err(|error| error.to_string()).and_then(|()| end.recv().map_err(|error| error.to_string()));
    answer.map_or_else(|error| error, |length| format!("{word}: {length} letters"))
}
