//! What making an object needs of the system.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use crewkit::ipc::{
    Array, Barrier, Condition, Counter, Event, Lock, RLock, Semaphore, ShareableList, SharedBytes, SharedMemory, Value,
    pipe,
};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};

use crate::alone::{fork, open_fds};
use crate::holders::{BRIEFLY, mappings};
use crate::looking::open_memory;

type Maker = fn() -> io::Result<Box<dyn std::any::Any>>;

fn boxed<T: 'static>(made: io::Result<T>) -> io::Result<Box<dyn std::any::Any>> {
    made.map(|object| Box::new(object) as Box<dyn std::any::Any>)
}

/// One of each kind.
const MAKERS: [Maker; 11] = [
    || boxed(Lock::new()),
    || boxed(RLock::new()),
    || boxed(Semaphore::new(2)),
    || boxed(Barrier::new(2)),
    || boxed(Event::new()),
    || boxed(Value::new([1_u64; 1_000])),
    || boxed(Counter::new(1)),
    || boxed(Array::<u64>::zeroed(1_000)),
    || boxed(ShareableList::new(["text"])),
    || boxed(SharedMemory::create(10_000)),
    || boxed(SharedBytes::new(&[7; 10_000])),
];

fn make_all() -> Vec<Box<dyn std::any::Any>> {
    MAKERS.iter().map(|make| make().unwrap()).collect()
}

/// Makes and uses one of each kind, and hands it on.
fn make_and_use_all() {
    drop(make_all());
    let lock = Lock::new().unwrap();
    let condition = Condition::new(&lock).unwrap();
    let guard = lock.lock().unwrap();
    drop(condition.wait_timeout(guard, BRIEFLY).unwrap());
    let semaphore = Semaphore::new(1).unwrap();
    let permit = semaphore.acquire().unwrap();
    assert!(semaphore.acquire_timeout(BRIEFLY).is_err());
    drop(permit);
    assert!(Barrier::new(2).unwrap().wait_timeout(BRIEFLY).is_err());
    let (near, far) = pipe::<(Lock, Semaphore), ()>().unwrap();
    near.send(&(lock, semaphore)).unwrap();
    assert!(far.recv().unwrap().1.stats().users.is_empty());
}

/// The system calls that name a file, and which of their arguments does.
const NAMING: &[(libc::c_long, usize)] = &[
    (libc::SYS_openat, 1),
    (libc::SYS_openat2, 1),
    (libc::SYS_mknodat, 1),
    (libc::SYS_mkdirat, 1),
    (libc::SYS_unlinkat, 1),
    (libc::SYS_symlinkat, 2),
    (libc::SYS_linkat, 3),
    (libc::SYS_renameat2, 3),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 0),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 0),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 0),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, 0),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, 0),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, 1),
];

/// With /dev/shm full, or absent, or anything else: it is not asked for. All that is ever opened is what /proc says.
pub(crate) fn nothing_of_the_file_system_is_needed() {
    let child = fork(|| {
        ptrace::traceme().unwrap();
        raise(Signal::SIGSTOP).unwrap();
        make_and_use_all();
        // As a control: this is seen.
        assert!(File::open("/dev/shm/crewkit-is-not-here").is_err());
    });
    let (pid, mut named) = (child.pid(), Vec::new());
    assert!(matches!(waitpid(pid, None), Ok(WaitStatus::Stopped(_, Signal::SIGSTOP))));
    ptrace::setoptions(pid, ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
    loop {
        ptrace::syscall(pid, None).unwrap();
        match waitpid(pid, None).unwrap() {
            WaitStatus::PtraceSyscall(_) => named.extend(named_by_call_of(pid.as_raw())),
            WaitStatus::Exited(_, code) => {
                assert_eq!(code, 0);
                child.reaped();
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let control = named.iter().filter(|name| *name == "/dev/shm/crewkit-is-not-here").count();
    assert_eq!(control, 2, "seen when the call begins, and when it ends: {named:?}");
    let others: Vec<_> = named.iter().filter(|name| !name.starts_with("/proc/")).collect();
    assert_eq!(others.len(), control, "{others:?}");
    assert!(named.len() > others.len(), "who is alive is looked up there");
}

/// What the system call names in which a traced process has stopped.
fn named_by_call_of(pid: i32) -> Option<String> {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let mut words = call.split(' ');
    let number: libc::c_long = words.next()?.parse().ok()?;
    let (_, argument) = NAMING.iter().find(|(naming, _)| *naming == number)?;
    let address = u64::from_str_radix(words.nth(*argument)?.strip_prefix("0x")?, 16).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut name = Vec::new();
    for at in address.. {
        let mut byte = [0];
        memory.read_exact_at(&mut byte, at).unwrap();
        if byte == [0] {
            break;
        }
        name.extend(byte);
    }
    Some(String::from_utf8(name).unwrap())
}

/// The kernel gives no pages, as the limit of the lengths of files says here and the machine's memory elsewhere.
pub(crate) fn too_little_memory_is_an_error_when_it_is_made() {
    let (fds, maps) = (open_fds(), mappings());
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    // What the kernel sends besides would end the process.
    SigSet::from(Signal::SIGXFSZ).thread_block().unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 0, hard).unwrap();
    for make in MAKERS {
        let error = make().map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
        assert!(error.to_string().starts_with("allocating "), "{error}");
    }
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
    assert_eq!((open_fds(), mappings()), (fds, maps));
    let all = make_all();
    // Every page is there now: none can be missing later, where that would be a signal.
    let files: Vec<_> = open_memory().iter().map(|fd| File::open(format!("/proc/self/fd/{fd}")).unwrap()).collect();
    assert_eq!(files.len(), all.len());
    for file in files.iter().map(|file| file.metadata().unwrap()) {
        assert!(file.len() > 0 && file.blocks() * 512 >= file.len(), "{} of {}", file.blocks() * 512, file.len());
    }
}

/// There are pages, and no addresses for them.
pub(crate) fn too_little_room_for_mappings_is_an_error() {
    let (fds, maps) = (open_fds(), mappings());
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, 0, hard).unwrap();
    let errors = MAKERS.map(|make| make().map(drop).err().map(|error| error.kind()));
    setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
    assert_eq!(errors, [Some(io::ErrorKind::OutOfMemory); MAKERS.len()]);
    assert_eq!((open_fds(), mappings()), (fds, maps));
    drop(make_all());
}
