//! Interleavings of joiners and reporters, stepped through by hand.

use super::*;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn await_joiners(core: &Segmented<u8>, many: usize) {
    while core.waiters() != [0, 0, many] {
        thread::yield_now();
    }
}

#[test]
fn a_joiner_that_was_called_for_a_moment_before_its_time_misses_no_later_one() {
    let core = Segmented::new(usize::MAX);
    core.try_put(0).unwrap();
    thread::scope(|scope| {
        let join = || core.join(Deadline::after(PATIENCE));
        let early = scope.spawn(join);
        await_joiners(&core, 1);
        // All is done, the reporter is about to say so, and more is put; somebody begins to wait for that.
        let first_moment = core.list.last_task_done().flatten();
        assert_eq!(first_moment, Some(1));
        core.try_put(1).unwrap();
        let late = scope.spawn(join);
        await_joiners(&core, 2);
        // The reporter calls both. All is done again before the second has come.
        let mut state = core.lock();
        let mut calls = Calls::default();
        state.note_all_done(1);
        core.settle(&mut state, &mut calls);
        let second_moment = core.list.last_task_done().flatten();
        assert!(core.list.put(2, Look::Exactly).is_ok());
        drop(state);
        calls.ring();
        assert!(early.join().unwrap());
        assert_eq!(second_moment, Some(2), "whoever waits is told of it");
        core.tell_joiners(2);
        assert!(late.join().unwrap(), "all was done while it waited");
    });
}

#[test]
fn a_join_ends_with_the_last_task_though_more_is_put_before_it_is_told() {
    let core = Segmented::new(usize::MAX);
    core.try_put(0).unwrap();
    thread::scope(|scope| {
        let joiner = scope.spawn(|| core.join(Deadline::after(PATIENCE)));
        await_joiners(&core, 1);
        let moment = core.list.last_task_done().flatten();
        core.try_put(1).unwrap();
        core.tell_joiners(moment.unwrap());
        assert!(joiner.join().unwrap());
    });
}

#[test]
fn clearing_ends_a_join_though_an_item_is_put_before_it_is_told() {
    for _ in 0..100 {
        let core = Segmented::new(usize::MAX);
        core.try_put(0).unwrap();
        thread::scope(|scope| {
            let joiner = scope.spawn(|| core.join(Deadline::after(PATIENCE)));
            await_joiners(&core, 1);
            scope.spawn(|| {
                while core.unfinished() > 0 {
                    thread::yield_now();
                }
                core.try_put(1).unwrap();
            });
            drop(core.clear());
            assert!(joiner.join().unwrap());
        });
    }
}
