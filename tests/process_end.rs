//! A process that ends in peace waits for those that it has started, but for daemons.
#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "what runs in other processes is not in a test function")]

use std::time::Duration;

use crewkit::ipc::{Connection, pipe};
use crewkit::process::{Builder, Exit, StartMethod, wait_any};

crewkit::enable_test_support!();

const SOON: Duration = Duration::from_secs(20);

/// How the owner ends, and what it leaves behind.
type Order = (u8, bool, Connection<u8, u8>, Connection<String, u8>);

/// Answers once it is asked to.
fn answer(asker: Connection<String, u8>) {
    asker.recv().unwrap();
    asker.send(&"still here".to_owned()).unwrap();
}

/// Starts a process that it does not join, says by closing `witness` that it has nothing more to do, and ends.
fn leave_one_behind((how, daemon, witness, asker): Order) -> u8 {
    let method = if how % 2 == 0 { StartMethod::ForkServer } else { StartMethod::Spawn };
    drop(Builder::new().start_method(method).daemon(daemon).spawn(answer, asker).unwrap());
    witness.send(&0).unwrap();
    drop(witness);
    if how >= 2 {
        std::process::exit(7);
    }
    7
}

#[test]
fn a_process_waits_for_those_that_it_has_started_and_not_for_daemons() {
    for how in [0, 1, 2, 3] {
        for daemon in [false, true] {
            let ((end, witness), (ask, asker)) = (pipe::<u8, u8>().unwrap(), pipe().unwrap());
            let mut owner =
                Builder::new().kill_on_drop(true).spawn(leave_one_behind, (how, daemon, witness, asker)).unwrap();
            end.recv_timeout(SOON).unwrap();
            assert!(end.recv_timeout(SOON).unwrap_err().is_closed());
            if !daemon {
                // One that does not wait would be gone by then.
                assert!(wait_any(&[&owner], Some(Duration::from_millis(50))).unwrap().is_empty());
                ask.send(&1).unwrap();
                let answer: String = ask.recv_timeout(SOON).unwrap();
                assert_eq!(answer, "still here");
            }
            // A daemon was asked nothing, and would wait for ever.
            assert!(ask.recv_timeout(SOON).unwrap_err().is_closed());
            let joined = owner.join_timeout(SOON);
            assert_eq!(owner.exit(), Some(Exit::Code(if how >= 2 { 7 } else { 0 })), "{joined:?}");
        }
    }
}
