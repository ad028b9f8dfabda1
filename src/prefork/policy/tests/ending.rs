//! Draining and ending.

use super::*;

#[test]
fn terminate_drains_everybody_and_ends() {
    let mut sim = Sim::warm(2);
    assert_eq!(
        sim.after(&[command(Command::Terminate)]),
        [Action::Note(Note::Draining), Action::StopListening, last_drain(0), last_drain(1)]
    );
    // Nothing else counts now, and a second request changes nothing.
    let ignored = [Command::Terminate, Command::Reload, Command::More, Command::Fewer].map(command);
    assert_eq!(sim.after(&ignored), []);
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), []);
    assert_eq!(sim.after(&[Event::Died { slot: 1 }]), [Action::End(Verdict::Stopped)]);
}

#[test]
fn what_has_not_finished_at_the_graceful_deadline_is_killed() {
    let mut sim = Sim::warm(1);
    sim.after(&[command(Command::Terminate)]);
    sim.sleep(GRACE);
    assert_eq!(sim.take(), [kill(0, Why::GracefulTimeout)]);
    assert_eq!(sim.policy.deadline(), None);
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), [Action::End(Verdict::Stopped)]);
}

#[test]
fn interrupt_is_graceful_once_and_fast_twice() {
    let mut sim = Sim::warm(1);
    let interrupt = command(Command::Interrupt);
    assert_eq!(sim.after(&[interrupt]), [Action::Note(Note::Draining), Action::StopListening, last_drain(0)]);
    assert_eq!(sim.after(&[interrupt]), [Action::Note(Note::Quitting), kill(0, Why::Quit)]);
    assert_eq!(sim.after(&[interrupt]), []);
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), [Action::End(Verdict::Stopped)]);
}

#[test]
fn quit_is_fast_also_while_it_drains() {
    for first in [None, Some(Command::Terminate)] {
        let mut sim = Sim::warm(2);
        if let Some(first) = first {
            sim.after(&[command(first)]);
        }
        let quit = sim.after(&[command(Command::Quit)]);
        assert_eq!(quit, [Action::Note(Note::Quitting), kill(0, Why::Quit), kill(1, Why::Quit)]);
    }
}

#[test]
fn a_worker_that_boots_when_the_master_ends_is_killed() {
    let mut sim = Sim::warm(1);
    sim.after(&[RELOAD]);
    let stopped = sim.after(&[command(Command::Terminate)]);
    assert_eq!(stopped[2..], [last_drain(0), kill(1, Why::NotNeeded)]);
    let ended = sim.after(&[Event::Died { slot: 1 }, Event::Died { slot: 0 }]);
    assert_eq!(ended, [Action::End(Verdict::Stopped)]);
}

#[test]
fn a_worker_that_drains_of_itself_is_replaced_at_once() {
    let mut sim = Sim::warm(1);
    assert_eq!(sim.after(&[Event::Drains { slot: 0 }]), [start(1, 0, 1)]);
    // Its acknowledgement of a drain that was asked for changes nothing, its deadline neither.
    let mut sim = Sim::warm(1);
    sim.after(&[command(Command::Terminate)]);
    sim.now += Duration::from_secs(1);
    assert_eq!(sim.after(&[Event::Drains { slot: 0 }]), []);
    sim.sleep(GRACE - Duration::from_secs(1));
    assert_eq!(sim.take(), [kill(0, Why::GracefulTimeout)]);
}
