//! Starting a process and waiting for its end.

use std::process::{Command, Stdio};
use std::time::Instant;

use crewkit::process::{Builder, StartMethod};

use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, check};
use crate::role;

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        Contest::new("Process", "start a function in a process and join it", "start and join", Size::MultipleOf(1))
            .with(Contestant::crewkit("crewkit Process, fork server", || Ok(crewkit_process(StartMethod::ForkServer))))
            .with(Contestant::crewkit("crewkit Process, spawn", || Ok(crewkit_process(StartMethod::Spawn))))
            .with(Contestant::peer("procspawn spawn", || Ok(repeat(|number| Ok(procspawn::spawn(number, next).join()?)))))
            .with(Contestant::peer("std Command, this binary", || {
                Ok(repeat(|number| {
                    let status = role::command(role::NOTHING)?.status()?;
                    check("exit status", status.success(), true)?;
                    Ok(next(number))
                }))
            }))
            .with(Contestant::peer("std Command, /bin/true", || {
                Ok(repeat(|number| {
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
    repeat(move |number| Ok(builder.spawn(next, number)?.join()?))
}

/// The function that runs in the other process.
fn next(number: u64) -> u64 {
    number.wrapping_add(1)
}

/// Starts processes one after the other and checks what each brings back.
fn repeat(mut start_and_join: impl FnMut(u64) -> Outcome<u64> + 'static) -> Repetition {
    Box::new(move |operations| {
        let start = Instant::now();
        for number in 0..operations {
            check("result of a process", start_and_join(number)?, next(number))?;
        }
        Ok(start.elapsed())
    })
}
