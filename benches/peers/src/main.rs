//! crewkit measured against its peers, in the same run, on the same work: `cargo run --release -p crewkit-peers`.
//!
//! | File | What it holds |
//! |---|---|
//! | `contest` | what is compared: contestants, their work, the size of a repetition |
//! | `arena` | how it is compared: a thread for each contestant, rounds, time limits |
//! | `place` | on which processors its threads run |
//! | `groups/*` | the work itself, one file for each part of crewkit |
//! | `role` | what this program does when it is started as a peer process |
//! | `machine`, `report`, `chart`, `readme` | where it was measured, and how the figures are shown |
//!
//! The method and the last table are in `benches/README.md`.

mod arena;
mod chart;
mod contest;
mod groups;
mod machine;
mod options;
mod place;
mod readme;
mod report;
mod role;

use std::process::ExitCode;
use std::time::Instant;

use arena::{Arena, Bout};
use contest::Outcome;
use options::Options;

fn main() -> ExitCode {
    // Both libraries start this binary again and take their children over here, each told by its own environment
    // variable; neither of them returns in a child of its own, and neither does anything in a child of the other.
    crewkit::init();
    procspawn::init();

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == role::FLAG) {
        return report_failure(role::play(arguments.get(1..).unwrap_or_default()));
    }
    // Before any thread is pinned.
    place::usable();
    match Options::parse(&arguments) {
        Ok(Some(options)) if options.list => {
            for contest in groups::all() {
                println!("{}", contest.title());
            }
            ExitCode::SUCCESS
        }
        Ok(Some(options)) => report_failure(measure(&options)),
        Ok(None) => {
            print!("{}", options::USAGE);
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}\n\n{}", options::USAGE);
            ExitCode::from(2)
        }
    }
}

/// Runs the contests that were asked for, prints the report and writes it to `target/bench-report`.
fn measure(options: &Options) -> Outcome<()> {
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a build without optimisation; its figures say nothing (use --release)");
    }
    let machine = machine::describe();
    let started = Instant::now();
    let arena = Arena::new(options.pace(), started);
    let mut bouts: Vec<Bout> = Vec::new();
    for contest in groups::all() {
        if options.wants(&contest) {
            eprintln!("{:>6.1} s  {}", started.elapsed().as_secs_f64(), contest.title());
            bouts.push(arena.run(contest));
        }
    }
    if bouts.is_empty() {
        return Err("no contest has this in its title; --list shows them all".into());
    }
    let report = report::markdown(&bouts, &machine, &arena, started.elapsed());
    print!("{report}");
    let folder = report::write(&report, &chart::svg(&bouts))?;
    eprintln!("written: {0}/report.md and {0}/chart.svg", folder.display());
    if options.write {
        readme::replace_last_run(&report)?;
    }
    // Whatever a contestant that hung has left behind (a thread, a child) ends with this process.
    Ok(())
}

/// Prints the error, if there is one, and turns it into an exit code.
fn report_failure(outcome: Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crewkit-peers: {error}");
            ExitCode::FAILURE
        }
    }
}
