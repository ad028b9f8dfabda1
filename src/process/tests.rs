//! What cannot be seen from outside the crate: process groups, and functions of another build.
#![expect(unsafe_code, reason = "enable_test_support puts a static into a section, inside the crate that defines it")]

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use super::function::{Function, Outcome};
use super::{Builder, Process, ProcessError, StartMethod};
use crate::ipc::parcel;

crate::enable_test_support!();

const SOON: Duration = Duration::from_secs(10);

/// The process group of a process.
fn group_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let group = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2)?.parse().ok());
    group.expect("a process")
}

fn wait_for_ever(_: ()) {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_process_leads_a_group_only_where_asked() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let builder = Builder::new().start_method(method).kill_on_drop(true);
        let process = builder.spawn(wait_for_ever, ()).unwrap();
        assert_eq!(group_of(process.pid()), group_of(std::process::id()));
        let leader = builder.clone().own_group(true).spawn(wait_for_ever, ()).unwrap();
        assert_eq!(group_of(leader.pid()), leader.pid());
    }
}

/// Starts a program that shares the caller's standard output and lives on by itself; says so, and then ends as told.
#[expect(clippy::zombie_processes, reason = "it is to be left behind")]
fn leave_one_behind(how: u8) {
    let other = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
    println!("{}", other.id());
    match how {
        0 => {}
        1 => std::process::abort(),
        _ => wait_for_ever(()),
    }
}

/// A program started by a process that leads a group ends with it, however that ends.
#[test]
fn a_group_ends_with_its_leader() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        for how in 0..3 {
            let (output, stdout) = std::io::pipe().unwrap();
            let builder = Builder::new().start_method(method).own_group(true).stdout(stdout);
            let mut leader = builder.spawn(leave_one_behind, how).unwrap();
            drop(builder);
            let mut output = BufReader::new(output);
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert!(line.trim().parse::<u32>().is_ok(), "{line}");
            if how == 2 {
                leader.kill().unwrap();
            }
            let _ = leader.join_timeout(SOON);
            // The end of the stream is the end of everybody who holds its other end.
            output.read_to_end(&mut Vec::new()).unwrap();
        }
    }
}

#[test]
fn a_function_of_another_build_is_not_called() {
    let function = Function::of(|x: u32| x + 1).unwrap();
    let argument = parcel::encode(&1_u32).unwrap();
    let Outcome::Returned(result) = function.call(&argument.bytes, Vec::new()) else { panic!("no result") };
    assert_eq!(parcel::decode::<u32>(&result.bytes, Vec::new()).unwrap(), 2);

    let mut name = postcard::to_stdvec(&function).unwrap();
    let last = name.last_mut().unwrap();
    *last ^= 1;
    let stranger: Function = postcard::from_bytes(&name).unwrap();
    let Outcome::BadArgument(why) = stranger.call(&argument.bytes, Vec::new()) else { panic!("it was called") };
    assert!(why.contains("another build"), "{why}");

    // An offset that is not code of the program, under the right identity.
    *name.last_mut().unwrap() ^= 1;
    let identity = name.split_off(name.len() - 20);
    for offset in [0_u64, 1 << 45, u64::MAX] {
        let mut forged = postcard::to_stdvec(&offset).unwrap();
        forged.extend(&identity);
        let forged: Function = postcard::from_bytes(&forged).unwrap();
        assert!(forged.check().is_err(), "{offset}");
    }
}

#[test]
fn a_panic_inside_a_call_inside_a_call_is_the_inner_ones() {
    let outer = |()| {
        let inner = Function::of(|()| -> () { panic!("inner") }).expect("a function");
        let argument = parcel::encode(&()).expect("an argument");
        match inner.call(&argument.bytes, Vec::new()) {
            Outcome::Panicked(report) => assert_eq!(report.message, "inner"),
            other => panic!("{other:?}"),
        }
        panic!("outer")
    };
    let (mut errors, stderr) = std::io::pipe().unwrap();
    let builder = Builder::new().stderr(stderr);
    let process: Process<()> = builder.spawn(outer, ()).unwrap();
    drop(builder);
    let error = process.join().unwrap_err();
    assert!(matches!(&error, ProcessError::Panicked { message, .. } if message == "outer"), "{error}");
    let mut said = String::new();
    errors.read_to_string(&mut said).unwrap();
    // Only the outermost is announced: the caller of an inner one has its report.
    assert!(said.contains("outer") && !said.contains("inner"), "{said}");
}
