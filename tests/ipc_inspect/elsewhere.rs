//! Looking at processes of another PID namespace.

use crewkit::ipc::inspect::{Kind, tree};
use crewkit::ipc::{Connection, Lock, Semaphore};
use nix::sched::{CloneFlags, unshare};

use crate::alone::{self, fork};
use crate::holders::SOON;
use crate::looking::{me, stats_of};

/// In a PID namespace of its own a process is number 1, which is somebody else here.
pub(crate) fn who_is_in_another_pid_namespace_is_not_taken_for_somebody_here() {
    let may_unshare = fork(|| i32::from(unshare(CloneFlags::CLONE_NEWPID).is_err())).exit_code() == 0;
    if !may_unshare {
        return println!("  left out: another PID namespace, which this process may not make");
    }
    let lock = Lock::new().unwrap();
    let (held, other) = alone::peer(|end: Connection<(), Lock>| {
        unshare(CloneFlags::CLONE_NEWPID).unwrap();
        let (near, holder) = alone::peer(|far: Connection<(), Lock>| {
            assert_eq!(std::process::id(), 1);
            far.recv().unwrap().acquire().unwrap();
            // Where users are noted, it needs /proc of its own namespace.
            assert!(Semaphore::new(3).is_err());
            far.send(&()).unwrap();
            // Until it is killed with its parent.
            drop(far.recv());
        });
        near.send(&end.recv().unwrap()).unwrap();
        near.recv().unwrap();
        end.send(&()).unwrap();
        holder.exit_code();
    });
    held.send(&lock).unwrap();
    held.recv_timeout(SOON).unwrap();
    for seen in [stats_of(Kind::Lock), lock.stats()] {
        let holder = seen.holder.unwrap();
        assert_eq!((holder.thread, holder.pid), (1, None));
    }
    let objects = tree(me()).unwrap().objects;
    let lock = objects.iter().find(|object| object.kind == Kind::Lock).unwrap();
    assert!(lock.open_in.len() >= 2 && lock.open_in.contains(&me()), "{lock:?}");
    drop(other);
}
