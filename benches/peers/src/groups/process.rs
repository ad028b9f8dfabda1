//! Starting a process and waiting for its end.

use std::process::{Command, Stdio};

use crewkit::process::{Builder, StartMethod};

use super::one_by_one;
use crate::contest::{Contest, Contestant, Repetition, Size, check};
use crate::role;

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        Contest::new("Process", "start a function in a process and join it", "start and join", Size::MultipleOf(1))
            .with(Contestant::crewkit("crewkit Process, fork server", || Ok(crewkit_process(StartMethod::ForkServer))))
            .with(Contestant::crewkit("crewkit Process, spawn", || Ok(crewkit_process(StartMethod::Spawn))))
            .with(Contestant::peer("procspawn spawn", || Ok(one_by_one(next, |number| Ok(procspawn::spawn(number, next).join()?)))))
            .with(Contestant::peer("std Command, this binary", || {
                Ok(one_by_one(next, |number| {
                    let status = role::command(role::NOTHING)?.status()?;
                    check("exit status", status.success(), true)?;
                    Ok(next(number))
                }))
            }))
            .with(Contestant::peer("std Command, /bin/true", || {
                Ok(one_by_one(next, |number| {
                    let status = Command::new("/bin/true").stdin(Stdio::null()).status()?;
                    check("exit status", status.success(), true)?;
                    Ok(next(number))
                }))
            }))
            .remark(
                "crewkit and procspawn run a function with an argument and bring its result back; `Command` only starts \
                 a program that does nothing, so its two rows are bounds rather than rivals: the cost of executing this \
                 binary, and of executing a small one.",
            ),
    ]
}

/// crewkit with a start method; the fork server is the default one.
fn crewkit_process(method: StartMethod) -> Repetition {
    let builder = Builder::new().start_method(method);
    one_by_one(next, move |number| Ok(builder.spawn(next, number)?.join()?))
}

/// The function that runs in the other process.
fn next(number: u64) -> u64 {
    number.wrapping_add(1)
}
