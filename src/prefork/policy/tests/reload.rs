//! Generations: new workers beside the old, then instead of them.

use super::*;

#[test]
fn a_reload_serves_with_all_of_the_new_before_it_drains_any_of_the_old() {
    let mut sim = Sim::warm(2);
    assert_eq!(
        sim.after(&[RELOAD]),
        [Action::Note(Note::ReloadBegins { generation: 2 }), start(2, 0, 2), start(3, 1, 2)]
    );
    assert_eq!(sim.after(&[Event::Ready { slot: 3 }]), [], "one of two is not enough");
    assert_eq!(
        sim.after(&[Event::Ready { slot: 2 }]),
        [
            Action::Note(Note::Reloaded { generation: 2 }),
            Action::Serve { slot: 2 },
            Action::Serve { slot: 3 },
            drain(0),
            drain(1)
        ]
    );
    assert_eq!(sim.after(&[Event::Died { slot: 0 }, Event::Died { slot: 1 }]), []);
    assert_eq!(sim.policy.generation(), 2);
    assert_eq!(sim.policy.deadline(), None);
}

#[test]
fn a_generation_that_fails_to_boot_is_dropped_and_the_old_one_serves_on() {
    let mut sim = Sim::warm(2);
    sim.after(&[RELOAD, Event::Ready { slot: 2 }]);
    let dropped = Action::Note(Note::ReloadDropped { generation: 2 });
    assert_eq!(sim.after(&[Event::Died { slot: 3 }]), [dropped, kill(2, Why::NotNeeded)]);
    assert_eq!(sim.after(&[Event::Died { slot: 2 }]), []);
    assert_eq!(sim.policy.generation(), 1);
    // Numbers are not used twice.
    assert_eq!(sim.after(&[RELOAD])[0], Action::Note(Note::ReloadBegins { generation: 3 }));
}

#[test]
fn a_new_generation_that_dies_waiting_for_the_rest_is_dropped_too() {
    let mut sim = Sim::warm(2);
    sim.after(&[RELOAD, Event::Ready { slot: 2 }]);
    let dropped = Action::Note(Note::ReloadDropped { generation: 2 });
    assert_eq!(sim.after(&[Event::Died { slot: 2 }]), [dropped, kill(3, Why::NotNeeded)]);
}

#[test]
fn a_new_generation_that_hangs_in_its_boot_is_dropped() {
    let mut sim = Sim::warm(1);
    sim.after(&[RELOAD]);
    sim.sleep(BOOT);
    let dropped = Action::Note(Note::ReloadDropped { generation: 2 });
    assert_eq!(sim.take(), [kill(1, Why::BootTimeout), dropped]);
    assert_eq!(sim.after(&[Event::Died { slot: 1 }]), []);
    assert_eq!(sim.policy.deadline(), None);
}

#[test]
fn a_reload_during_a_reload_follows_it() {
    let mut sim = Sim::warm(1);
    assert_eq!(
        sim.after(&[RELOAD, RELOAD, RELOAD])[2..],
        [Action::Note(Note::ReloadQueued), Action::Note(Note::ReloadQueued)]
    );
    assert_eq!(
        sim.after(&[Event::Ready { slot: 1 }]),
        [
            Action::Note(Note::Reloaded { generation: 2 }),
            Action::Serve { slot: 1 },
            Action::Note(Note::ReloadBegins { generation: 3 }),
            drain(0),
            start(2, 0, 3)
        ]
    );
    let adopted = sim.after(&[Event::Ready { slot: 2 }]);
    assert_eq!(adopted, [Action::Note(Note::Reloaded { generation: 3 }), Action::Serve { slot: 2 }, drain(1)]);
}

#[test]
fn an_old_worker_that_dies_during_a_reload_is_replaced_by_an_old_one() {
    let mut sim = Sim::warm(2);
    sim.after(&[RELOAD]);
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), [start(0, 0, 1)]);
    assert_eq!(sim.after(&[Event::Ready { slot: 0 }]), [Action::Serve { slot: 0 }]);
}

#[test]
fn a_reload_is_the_way_out_when_the_old_generation_cannot_boot_any_more() {
    let mut sim = Sim::warm(1);
    sim.after(&[Event::Died { slot: 0 }, Event::Died { slot: 0 }, Event::Died { slot: 0 }]);
    let begun = sim.after(&[RELOAD]);
    assert_eq!(begun, [Action::Note(Note::ReloadBegins { generation: 2 }), start(0, 0, 2)]);
    sim.after(&[Event::Ready { slot: 0 }]);
    assert_eq!(sim.policy.generation(), 2);
    // The new generation starts with a clean sheet.
    assert_eq!(sim.after(&[Event::Died { slot: 0 }, Event::Died { slot: 0 }]), [start(0, 0, 2), start(0, 0, 2)]);
}

#[test]
fn reloads_wait_for_slots_when_the_old_drain_slowly() {
    let mut sim = Sim::warm(1);
    let mut newest = 0;
    for _ in 0..sim.policy.settings.slots - 1 {
        newest = sim
            .after(&[RELOAD])
            .iter()
            .find_map(|action| if let Action::Start { slot, .. } = action { Some(*slot) } else { None })
            .unwrap();
        sim.after(&[Event::Ready { slot: newest }]);
    }
    let begun = sim.after(&[RELOAD]);
    assert_eq!(begun.len(), 1, "no slot is free: {begun:?}");
    assert_eq!(sim.policy.deadline(), Some(sim.now + GRACE), "it waits for a death, it does not spin");
    let started = sim.after(&[Event::Died { slot: 0 }]);
    assert!(matches!(started[..], [Action::Start { slot: 0, .. }]), "{started:?} after {newest}");
}

#[test]
fn the_number_may_change_during_a_reload() {
    let mut sim = Sim::warm(1);
    sim.after(&[RELOAD]);
    let more = sim.after(&[command(Command::More)]);
    assert_eq!(more[1..], [start(2, 1, 1), start(3, 1, 2)]);
    assert_eq!(sim.after(&[Event::Ready { slot: 1 }]), [], "the new seat counts");
    let adopted = sim.after(&[Event::Ready { slot: 3 }]);
    assert!(adopted.contains(&Action::Note(Note::Reloaded { generation: 2 })), "{adopted:?}");
    assert!(adopted.contains(&kill(2, Why::NotNeeded)), "{adopted:?}");

    let mut sim = Sim::warm(2);
    sim.after(&[RELOAD, Event::Ready { slot: 2 }]);
    let fewer = sim.after(&[command(Command::Fewer)]);
    assert!(fewer.contains(&Action::Note(Note::Reloaded { generation: 2 })), "the rest is ready: {fewer:?}");
}

#[test]
fn old_workers_that_drain_too_long_are_killed_while_the_new_serve() {
    let mut sim = Sim::warm(1);
    sim.after(&[RELOAD, Event::Ready { slot: 1 }]);
    sim.sleep(GRACE);
    assert_eq!(sim.take(), [kill(0, Why::GracefulTimeout)]);
    assert_eq!(sim.after(&[Event::Died { slot: 0 }]), []);
}
