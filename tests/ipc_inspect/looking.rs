//! Looking at other processes.

use std::fs::File;
use std::io::ErrorKind::{InvalidInput, PermissionDenied};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crewkit::ipc::inspect::{Kind, ObjectInfo, objects_of, tree};
use crewkit::ipc::{
    Array, Barrier, BoundedSemaphore, Condition, Counter, Detail, Event, Item, Lock, LockError, Queue, RLock,
    Semaphore, ShareableList, SharedBytes, SharedMemory, Stats, Value, pipe,
};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Uid;

use crate::alone::{Child, open_fds};
use crate::holders::{SOON, holder, mappings, stop};
use crate::support::sleeper;

/// Another user, who has nothing.
const NOBODY: u32 = 65_534;
/// Which of the capabilities lets look at everybody.
const CAP_SYS_PTRACE: u32 = 19;

/// What `look` finds, as soon as it does.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < SOON, "it is not seen");
        std::thread::yield_now();
    }
}

fn pid(child: &Child) -> u32 {
    child.pid().as_raw().unsigned_abs()
}

pub(crate) fn me() -> u32 {
    std::process::id()
}

/// The only object of a kind in this process and its children.
fn only(kind: Kind) -> ObjectInfo {
    let mut found = tree(me()).unwrap().objects;
    found.retain(|object| object.kind == kind);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

pub(crate) fn stats_of(kind: Kind) -> Stats {
    only(kind).stats.unwrap()
}

pub(crate) fn who_holds_and_who_waits_is_seen_from_outside() {
    let (lock, fds, maps) = (RLock::new().unwrap(), open_fds(), mappings());
    let holder = holder(&lock, |lock| (0..3).for_each(|_| lock.acquire().unwrap()));
    let waiters = [(); 2].map(|()| sleeper(&lock, |lock: &RLock| i32::from(lock.lock_timeout(SOON).is_err())));
    let object = until(|| Some(only(Kind::RLock)).filter(|object| object.waiting.len() == 2));
    let stats = object.stats.unwrap();
    let by = stats.holder.unwrap();
    assert_eq!((by.pid, by.thread), (Some(pid(&holder.child)), pid(&holder.child)));
    assert_eq!((stats.waiters, stats.recoveries, stats.detail), (2, 0, Detail::Lock { depth: 3 }));
    let waiting: Vec<u32> = object.waiting.iter().map(|waiting| waiting.pid).collect();
    assert!(waiters.iter().all(|waiter| waiting.contains(&pid(waiter))), "{waiting:?}");
    let mut all = [me(), pid(&holder.child), pid(&waiters[0]), pid(&waiters[1])];
    let mut open_in = object.open_in.clone();
    all.sort_unstable();
    open_in.sort_unstable();
    assert_eq!(open_in, all);
    // It is the same that who has the object sees, and time goes on.
    let here = lock.stats();
    assert_eq!((here.holder.unwrap().pid, here.waiters, here.bytes as u64), (by.pid, 2, object.bytes));
    until(|| stats_of(Kind::RLock).holder?.waited_for.filter(|time| *time >= Duration::from_millis(200)));
    assert_eq!((objects_of(pid(&waiters[0])).unwrap().len(), objects_of(me()).unwrap().len()), (1, 1));
    // The sleepers were not woken by being looked at.
    assert_eq!(lock.stats().waiters, 2);
    drop(holder);
    let told = waiters.into_iter().map(Child::exit_code).sum::<i32>();
    assert!(told > 0, "nobody has recovered");
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
    assert_eq!(stats_of(Kind::RLock).recoveries, 1);
    assert!(stats_of(Kind::RLock).owner_died);
    assert_eq!((open_fds(), mappings()), (fds, maps), "nothing is left of looking");
}

pub(crate) fn every_kind_is_known() {
    assert_eq!(objects_of(me()).unwrap().len(), 0);
    let (lock, semaphore, barrier) = (Lock::new().unwrap(), Semaphore::new(7).unwrap(), Barrier::new(3).unwrap());
    let condition = Condition::new(&lock).unwrap();
    let (event, bounded, value) = (Event::new().unwrap(), BoundedSemaphore::new(2).unwrap(), Value::new(1_u8).unwrap());
    let (counter, array) = (Counter::new(-5).unwrap(), Array::<u32>::zeroed(9).unwrap());
    let list = ShareableList::new([Item::Int(1), "two".into()]).unwrap();
    let (memory, bytes) = (SharedMemory::create(100).unwrap(), SharedBytes::new(b"for good").unwrap());
    let queue = Queue::<u64>::bounded(10).unwrap();
    (0..3).for_each(|item| queue.put(item).unwrap());
    event.set().unwrap();
    let _three = semaphore.acquire_many(3).unwrap();
    // A connection has a ring for what one end has sent often.
    let (near, far) = pipe::<u32, u32>().unwrap();
    for number in 0..100 {
        near.send(&number).unwrap();
        assert_eq!(far.recv().unwrap(), number);
    }
    let objects = objects_of(me()).unwrap();
    assert_eq!(objects.len(), 14, "{objects:?}");
    assert_eq!((only(Kind::Ring).stats, only(Kind::Ring).bytes > 1 << 18), (None, true));
    let detail = |kind| stats_of(kind).detail;
    assert_eq!(detail(Kind::Lock), Detail::Lock { depth: 0 });
    assert!(matches!(detail(Kind::Semaphore), Detail::Semaphore { available: 4, total: 7, .. }));
    assert_eq!(stats_of(Kind::Semaphore).users, semaphore.stats().users);
    assert_eq!(semaphore.stats().users[0].count, 3);
    assert_eq!(detail(Kind::BoundedSemaphore), Detail::Semaphore { available: 2, total: 2, limit: 2 });
    assert_eq!(detail(Kind::Event), Detail::Event { is_set: true });
    assert_eq!(detail(Kind::Barrier), Detail::Barrier { parties: 3, waiting: 0, is_broken: false });
    let queued = detail(Kind::Queue);
    assert!(matches!(queued, Detail::Queue { len: 3, leased: 0, is_shut_down: false, .. }), "{queued:?}");
    assert_eq!(detail(Kind::Condition), Detail::Condition);
    assert_eq!(detail(Kind::Value), Detail::Value);
    assert_eq!(detail(Kind::Counter), Detail::Counter { value: -5 });
    assert_eq!(detail(Kind::Array), Detail::Array { len: 9 });
    assert_eq!(detail(Kind::ShareableList), Detail::List { len: 2 });
    assert_eq!((only(Kind::SharedMemory).bytes, only(Kind::SharedBytes).bytes), (100, 8));
    // From within it is the same.
    assert_eq!(lock.stats(), stats_of(Kind::Lock));
    assert_eq!(semaphore.stats(), stats_of(Kind::Semaphore));
    assert_eq!(bounded.stats(), stats_of(Kind::BoundedSemaphore));
    assert_eq!(event.stats(), stats_of(Kind::Event));
    assert_eq!(barrier.stats(), stats_of(Kind::Barrier));
    assert_eq!(condition.stats(), stats_of(Kind::Condition));
    assert_eq!(value.stats(), stats_of(Kind::Value));
    assert_eq!(counter.stats(), stats_of(Kind::Counter));
    assert_eq!(array.stats(), stats_of(Kind::Array));
    assert_eq!(list.stats(), stats_of(Kind::ShareableList));
    assert_eq!(queue.stats(), stats_of(Kind::Queue));
    drop((memory, bytes));
}

pub(crate) fn the_dead_hold_nothing_and_are_counted() {
    let semaphore = Semaphore::new(2).unwrap();
    let victim = holder(&semaphore, |semaphore| std::mem::forget(semaphore.acquire_many(2).unwrap()));
    assert_eq!(stats_of(Kind::Semaphore).users[0].pid, pid(&victim.child));
    let waiter = sleeper(&semaphore, |semaphore: &Semaphore| i32::from(semaphore.acquire_timeout(SOON).is_err()));
    until(|| Some(only(Kind::Semaphore)).filter(|object| object.waiting.iter().any(|wait| wait.pid == pid(&waiter))));
    drop(victim);
    assert_eq!(waiter.exit_code(), 0);
    let stats = stats_of(Kind::Semaphore);
    assert_eq!((stats.recoveries, stats.users.len(), stats.waiters), (1, 0, 0));

    let barrier = Barrier::new(2).unwrap();
    let party = sleeper(&barrier, |barrier: &Barrier| i32::from(barrier.wait_timeout(SOON).is_ok()));
    let stats = until(|| Some(stats_of(Kind::Barrier)).filter(|stats| stats.waiters == 1));
    assert_eq!((stats.users[0].pid, stats.users[0].count), (pid(&party), 1));
    party.kill();
    assert!(barrier.is_broken());
    assert_eq!(stats_of(Kind::Barrier).recoveries, 1);
    assert_eq!(stats_of(Kind::Barrier).users.len(), 0);

    let condition = Condition::new(&Lock::new().unwrap()).unwrap();
    let waiter = sleeper(&condition, |condition: &Condition| {
        i32::from(condition.wait_timeout(condition.lock().lock().unwrap(), SOON).is_err())
    });
    let stats = until(|| Some(stats_of(Kind::Condition)).filter(|stats| stats.waiters == 1));
    assert_eq!((stats.users[0].pid, stats.users[0].count), (pid(&waiter), 1));
    stop(&waiter);
    condition.notify_one(&condition.lock().lock().unwrap()).unwrap();
    waiter.kill();
    let guard = condition.lock().lock().unwrap();
    assert!(condition.wait_timeout(guard, SOON).unwrap().1, "it goes on to who waits next");
    assert_eq!((stats_of(Kind::Condition).recoveries, stats_of(Kind::Condition).waiters), (1, 0));
}

pub(crate) fn a_queue_shows_what_the_living_have_of_it() {
    let queue = Queue::<u64>::bounded(10).unwrap();
    (0..5).for_each(|item| queue.put(item).unwrap());
    let counts = |stats: &Stats| stats.users.iter().map(|user| (user.pid, user.count)).collect::<Vec<_>>();
    // Two mappings in one process, which is named once.
    let (near, far) = pipe::<Queue<u64>, ()>().unwrap();
    near.send(&queue).unwrap();
    let again = far.recv().unwrap();
    let _one = (queue.get().unwrap(), again.get().unwrap());
    assert_eq!(counts(&queue.stats()), [(me(), 2)]);
    let taker = holder(&queue, |queue| assert!(queue.get().is_ok()));
    let both = [(me(), 2), (pid(&taker.child), 1)];
    assert_eq!((counts(&queue.stats()), counts(&stats_of(Kind::Queue))), (both.to_vec(), both.to_vec()));
    // Who is dead has nothing, whether or not that was put in order yet.
    kill(taker.child.pid(), Signal::SIGKILL).unwrap();
    until(|| (counts(&queue.stats()) == both[..1]).then_some(()));
    assert_eq!((counts(&stats_of(Kind::Queue)), queue.stats().recoveries), (both[..1].to_vec(), 0));
    drop(taker);
    queue.task_done().unwrap();
    again.task_done().unwrap();
    let _rest = (queue.get().unwrap(), queue.get().unwrap());
    (0..2).for_each(|_| queue.task_done().unwrap());
    queue.join().unwrap();
    let waiter = sleeper(&queue, |queue: &Queue<u64>| i32::from(queue.get_timeout(SOON).is_err()));
    until(|| Some(stats_of(Kind::Queue)).filter(|stats| (stats.recoveries, stats.waiters) == (1, 1)));
    assert_eq!((queue.stats().recoveries, counts(&queue.stats())), (1, Vec::new()));
    queue.put(6).unwrap();
    assert_eq!(waiter.exit_code(), 0);
}

/// The descriptor of an object, as whoever receives a message can have it.
fn fd_of(lock: &Lock) -> OwnedFd {
    let (near, far) = pipe::<Lock, ()>().unwrap();
    near.send(lock).unwrap();
    let own = open_memory();
    let received = far.recv().unwrap();
    let fd = open_memory().into_iter().find(|fd| !own.contains(fd)).unwrap();
    let fd = File::options().read(true).write(true).open(format!("/proc/self/fd/{fd}")).unwrap();
    drop(received);
    fd.into()
}

pub(crate) fn open_memory() -> Vec<i32> {
    let names = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
    let is_memory = |path: std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|name| name.starts_with("/memfd:crewkit (deleted)"))
    };
    names.filter(|entry| is_memory(entry.path())).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

pub(crate) fn nonsense_is_shown_and_never_a_fault() {
    let lock = Lock::new().unwrap();
    let file = File::from(fd_of(&lock));
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut whole = vec![0; length];
    file.read_exact_at(&mut whole, 0).unwrap();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let (mut known, mut unknown) = (0, 0);
    for round in 0..2_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Every kind, which has too little room here, or other words than it should.
        let kind = if round % 2 == 0 { 1 } else { random % 18 };
        let mut lie = whole.clone();
        lie[8..12].copy_from_slice(&u32::try_from(kind).unwrap().to_ne_bytes());
        for word in lie[64..].chunks_mut(8) {
            random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            word.copy_from_slice(&[random, u64::MAX, random >> 40][round % 3].to_ne_bytes()[..word.len()]);
        }
        if round % 7 == 0 {
            lie[usize::try_from(random % 64).unwrap()] ^= 1;
        }
        file.write_all_at(&lie, 0).unwrap();
        match objects_of(me()).unwrap().as_slice() {
            [object] if object.stats.is_some() => known += 1,
            [object] => {
                assert!(matches!(object.kind, Kind::Unknown | Kind::Internal | Kind::Ring), "{object:?}");
                unknown += 1;
            }
            objects => panic!("{objects:?}"),
        }
    }
    assert!(known > 500 && unknown > 200, "{known}, {unknown}");
    // Holes where there were pages.
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, hole, 0, i64::try_from(length.next_multiple_of(4096)).unwrap()).unwrap();
    assert_eq!(only(Kind::Internal).bytes, length as u64);
    // In order again, but for the lock itself, which nobody touches any more.
    file.write_all_at(&whole, 0).unwrap();
    assert_eq!(stats_of(Kind::Lock).holder, None);
}

/// However many objects there are, a few descriptors are enough to see them all; and fewer than that are an error, not less to see.
pub(crate) fn few_descriptors_are_enough() {
    const MANY: usize = 200;
    let counters: Vec<_> = (0..MANY).map(|_| Counter::new(0).unwrap()).collect();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // The kernel limits their numbers: so that it is how many, all below the first free one are taken.
    let all = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let end = 1 + all.max().unwrap_or(0_i32);
    let gaps: Vec<_> =
        std::iter::repeat_with(|| File::open("/dev/null").unwrap()).take_while(|file| file.as_raw_fd() < end).collect();
    let limit = |free| setrlimit(Resource::RLIMIT_NOFILE, end.unsigned_abs() as u64 + free, hard).unwrap();
    limit(5);
    let (seen, whole) = (objects_of(me()), tree(me()));
    let errors = [1, 2].map(|free| {
        limit(free);
        [objects_of(me()).map(drop), tree(me()).map(drop)].map(|looked| looked.unwrap_err().raw_os_error())
    });
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert_eq!((seen.unwrap().len(), whole.unwrap().objects.len()), (MANY, MANY));
    assert_eq!(errors, [[Some(Errno::EMFILE as i32); 2]; 2]);
    drop((counters, gaps));
}

pub(crate) fn who_ends_or_is_stopped_holds_up_nobody() {
    let lock = Lock::new().unwrap();
    let holder = holder(&lock, |lock| lock.acquire().unwrap());
    stop(&holder.child);
    assert_eq!(stats_of(Kind::Lock).holder.unwrap().pid, Some(pid(&holder.child)));
    kill(holder.child.pid(), Signal::SIGKILL).unwrap();
    let gone = pid(&holder.child);
    // Unreaped, it is in the tree and has nothing; then it is nobody.
    until(|| (!tree(me()).unwrap().objects[0].open_in.contains(&gone)).then_some(()));
    assert!(tree(me()).unwrap().processes.iter().any(|process| process.pid == gone && process.parent == me()));
    assert_eq!(stats_of(Kind::Lock).holder, None);
    drop(holder);
    assert_eq!(objects_of(gone).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(tree(gone).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    // Many that come and go while it is looked.
    let come_and_go = crate::alone::fork(|| {
        // Until it is killed.
        while crate::alone::fork(|| ()).exit_code() == 0 {}
    });
    for _ in 0..50 {
        let seen = tree(me()).unwrap();
        assert_eq!((seen.processes[0].pid, seen.objects.len()), (me(), 1));
    }
    come_and_go.kill();
}

pub(crate) fn others_may_not_be_looked_at() {
    let lock = Lock::new().unwrap();
    let hidden = holder(&lock, |lock| {
        // Then only root may look.
        nix::sys::prctl::set_dumpable(false).unwrap();
        lock.acquire().unwrap();
    });
    let may_trace_all = capabilities() >> CAP_SYS_PTRACE & 1 == 1;
    let seen = tree(me()).unwrap();
    let is_readable = |pid| seen.processes.iter().find(|process| process.pid == pid).unwrap().is_readable;
    assert_eq!((is_readable(me()), is_readable(pid(&hidden.child))), (true, may_trace_all));
    let looked = objects_of(pid(&hidden.child)).map(drop).map_err(|error| error.kind());
    assert_eq!(looked, if may_trace_all { Ok(()) } else { Err(PermissionDenied) });
    // The lock is seen at who may be looked at.
    assert_eq!(stats_of(Kind::Lock).holder.unwrap().thread, pid(&hidden.child));
    drop(seen);
    if Uid::effective().is_root() {
        nobody_sees_anything();
    } else {
        println!("  left out: what another user sees, who can be had by root only");
    }
}

/// This process, which is root's, and one child of it, as another user sees them.
fn nobody_sees_anything() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    if mounts.lines().any(|mount| mount.starts_with("proc /proc ") && mount.contains("hidepid=")) {
        return println!("  left out: /proc does not show other users' processes");
    }
    // By its descriptor: that user may be forbidden to come to where it lies.
    let program = File::open(example().get_program()).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    match command.args(["--once", &me().to_string()]).uid(NOBODY).gid(NOBODY).output() {
        Ok(output) => {
            let page = String::from_utf8(output.stdout).unwrap();
            assert!(page.starts_with("3 processes, 0 objects") && page.matches(" unseen ").count() == 2, "{page}");
        }
        // A user that this namespace does not have, or whom nobody lets run the file.
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied) => {
            println!("  left out: nobody can become user {NOBODY} here: {error}");
        }
        Err(error) => panic!("{error}"),
    }
}

/// Those in effect, as bits.
fn capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(bits.trim(), 16).unwrap()
}

fn example() -> Command {
    let this = std::env::current_exe().unwrap();
    let example = this.ancestors().nth(2).unwrap().join("examples/ipc_top");
    assert!(example.exists(), "`cargo build --example ipc_top` makes it");
    Command::new(example)
}

fn page(arguments: &[&str]) -> String {
    let output = example().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn the_example_shows_who_waits_for_whom() {
    let (lock, event) = (Lock::new().unwrap(), Event::new().unwrap());
    let holder = holder(&lock, |lock| lock.acquire().unwrap());
    let waiters = [(); 2].map(|()| sleeper(&lock, |lock: &Lock| i32::from(lock.lock_timeout(SOON).is_err())));
    let own = me().to_string();
    let held_by = pid(&holder.child);
    let waits = |page: &str, waiter: &Child| {
        let (begin, end) = (format!("    {0}/{0} (", pid(waiter)), format!(" waits for {held_by} ("));
        page.lines().any(|line| line.starts_with(&begin) && line.contains(&end))
    };
    let shown = until(|| {
        let page = page(&["--once", &own]);
        waiters.iter().all(|waiter| waits(&page, waiter)).then_some(page)
    });
    // The example is a child of this process as well.
    assert!(shown.starts_with("5 processes, 2 objects, "), "{shown}");
    let line = shown.lines().find(|line| line.starts_with("Lock#")).unwrap();
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    assert_eq!((fields[2], fields[4], fields[5], fields[6]), (held_by.to_string().as_str(), "s", "2", "0"), "{line}");
    assert!(shown.contains("Event#") && shown.contains("not set"), "{shown}");
    assert!(!page(&["--once", "--busy", &own]).contains("Event#"), "nobody waits for it");
    event.set().unwrap();
    assert!(!page(&["--once", &own]).contains("not set"));
    drop(holder);
    waiters.into_iter().for_each(|waiter| assert!(waiter.exit_code() < 2));
    assert!(page(&["--once", &own]).contains("owner died"));

    let failed = |arguments: &[&str]| String::from_utf8(example().args(arguments).output().unwrap().stderr).unwrap();
    assert_eq!(failed(&["--once", "4294967295"]), "ipc_top: there is no process 4294967295\n");
    assert!(failed(&["--interval=-1", &own]).contains("negative"));
}
