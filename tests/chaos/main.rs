//! Twelve processes use everything that processes can share, while they are killed, stopped and disturbed at random: nothing is
//! lost or doubled, nobody hangs, and nothing is left over.
//!
//! Each worker goes through rounds: with objects that one at a time may change it looks whether its predecessor was whole or it
//! is told of a death; it holds permits, sends or receives numbered messages, puts numbered items into a queue and takes them, for
//! good or on a lease, puts and takes under a condition, makes trips, waits for an event. What it does it writes down in shared memory before and after (`journal`), so that it can be added up
//! whoever has died. The owner kills workers (some kill themselves, in the middle of something), leaves some of them unreaped for
//! a while, stops and continues them, interrupts their system calls, and puts others in the places of the dead. Then
//! nobody dies any more, all go on for a while, and end by themselves; the accounts are made up, a process that knows nothing
//! of all that uses every object, and descriptors, mappings and processes are counted.
//!
//! `CREWKIT_CHAOS_KILLS` says how many are killed, `CREWKIT_CHAOS_SEED` which choices are made. A seed decides the owner's and the
//! workers' choices, not what the machine makes of them.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]
#![expect(clippy::cast_possible_truncation, reason = "numbers at random")]

#[path = "../alone/mod.rs"]
mod alone;
mod awaited;
mod disturbance;
mod guarded;
mod items;
mod journal;
mod link;
#[path = "../holders/mappings.rs"]
mod mappings;
mod names;
mod owner;
mod random;
mod stacks;
mod worker;
mod world;

use std::process::ExitCode;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use alone::{Child, open_fds, peer};
use crewkit::ipc::{Connection, RecvError};
use journal::Phase;
use mappings::mappings;
use names::Names;
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use owner::{Owner, has_no_children};
use random::Random;
use world::World;

/// How many are killed where nobody says otherwise.
const KILLS: u64 = 500;
/// After so many killed parties of the barrier it must have broken, whoever was inside when.
const PARTIES: u64 = 50;
/// How many rounds each worker makes when all is over.
const ROUNDS: u64 = 200;

fn main() -> ExitCode {
    alone::main(&[("whoever_dies_nothing_is_lost", whoever_dies_nothing_is_lost)])
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn whoever_dies_nothing_is_lost() {
    let (kills, seed) = (setting("CREWKIT_CHAOS_KILLS", KILLS), setting("CREWKIT_CHAOS_SEED", 1));
    let (begin, names, before) = (Instant::now(), Names::begin(), (open_fds(), mappings()));
    println!("  seed {seed}, {kills} kills");
    disturbance::is_survived();
    let (watched, watchdog) = watch(Duration::from_secs(90) + Duration::from_millis(200) * kills as u32);

    // Each death makes a new link at most; there are some deaths more than were asked for.
    let world = World::new(2 * kills as usize + 100);
    let mut owner = Owner::new(world.clone(), Random::new(seed), 0);
    owner.storm(kills);
    owner.calm(ROUNDS);
    let deeds = owner.end();
    world.account(deeds.kills);
    // Who dies before it comes to the barrier breaks nothing, and several may die before it is mended.
    let is_mended = world.journal.mended().load(SeqCst) > 0;
    assert!(is_mended || deeds.parties_killed < PARTIES, "a barrier never broke; {deeds:?}");
    println!("  {deeds:?}\n  {}; {:.1} s", world.summary(), begin.elapsed().as_secs_f64());

    // Others that know nothing of all that.
    world.journal.enter(Phase::Calm);
    let mut fresh = Owner::new(world.clone(), Random::new(seed), deeds.links);
    fresh.calm(ROUNDS);
    let late = fresh.end();
    assert_eq!(late.kills, 0);
    world.account(deeds.kills);

    drop(world);
    watchdog.kill();
    drop(watched);
    assert!(has_no_children(), "a process is left over");
    assert_eq!((open_fds(), mappings()), before, "descriptors or mappings are left over");
    names.end();
}

/// A process that shows all others of this family, and ends them, when this one has not ended it for so long.
fn watch(limit: Duration) -> (Connection<(), ()>, Child) {
    nix::unistd::alarm::cancel();
    let owner = getpid();
    peer(move |end: Connection<(), ()>| {
        if matches!(end.recv_timeout(limit), Err(RecvError::Timeout)) {
            eprintln!("chaos takes longer than {limit:?}");
            stacks::show_family(owner);
            kill(owner, Signal::SIGKILL).unwrap();
        }
    })
}
