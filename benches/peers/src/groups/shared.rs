//! Objects in shared memory: a lock, a semaphore, an event, a value, each used by one process while nobody waits for it,
//! and by two at the same time; and what making them costs.
//!
//! # Safety
//!
//! The plain mutex is initialised in a box that it never leaves, and used by one thread.

#![expect(unsafe_code, reason = "the C library's mutex")]

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::Instant;

use crewkit::ipc::{
    Array, Barrier, Condition, Connection, Event, Lock, LockError, Queue, RLock, Semaphore, Value, pipe,
};
use crewkit::process::Process;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::python::Python;
use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, Target, check};
use crate::place::Placement;

const GROUP: &str = "Shared objects";
const PTHREAD: &str = "pthread mutex, process-shared";
const PYTHON: &str = "CPython multiprocessing";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    let many = Size::MultipleOf(1_000);
    vec![
        Contest::new(GROUP, "take and release a lock", "pair", many)
            .with(Contestant::crewkit("crewkit ipc::Lock", || {
                let lock = Lock::new()?;
                Ok(timed(move || lock.lock().map(drop).map_err(LockError::detach)))
            }))
            .with(Contestant::peer(PTHREAD, || {
                let mutex = Plain::new()?;
                Ok(timed(move || mutex.pair()))
            }))
            .target(Target::speed("crewkit ipc::Lock", 0.95, &[PTHREAD])),
        made(),
        Contest::new(GROUP, "acquire and release a permit", "pair", many)
            .with(Contestant::crewkit("crewkit ipc::Semaphore", || {
                let semaphore = Semaphore::new(1)?;
                Ok(timed(move || semaphore.acquire().map(drop)))
            }))
            .with(python("semaphore"))
            .target(Target::speed("crewkit ipc::Semaphore", 20.0, &[PYTHON])),
        Contest::new(GROUP, "set and clear an event", "pair", many)
            .with(Contestant::crewkit("crewkit ipc::Event", || {
                let event = Event::new()?;
                Ok(timed(move || event.set().and_then(|()| event.clear())))
            }))
            .with(python("event"))
            .target(Target::speed("crewkit ipc::Event", 20.0, &[PYTHON])),
        Contest::new(GROUP, "wait for an event that is set", "wait", many)
            .with(Contestant::crewkit("crewkit ipc::Event", || {
                let event = Event::new()?;
                event.set()?;
                Ok(timed(move || event.wait()))
            }))
            .with(python("wait"))
            .target(Target::speed("crewkit ipc::Event", 20.0, &[PYTHON])),
        Contest::new(GROUP, "add to a value under its lock", "update", many)
            .with(Contestant::crewkit("crewkit ipc::Value", || {
                let value = Value::new(0_u64)?;
                Ok(Box::new(move |operations| {
                    value.set(0)?;
                    let start = Instant::now();
                    for _ in 0..operations {
                        value.update(|value| *value += 1)?;
                    }
                    let taken = start.elapsed();
                    check("sum", value.get()?, operations)?;
                    Ok(taken.into())
                }))
            }))
            .with(python("value"))
            .target(Target::speed("crewkit ipc::Value", 20.0, &[PYTHON])),
        beside("one permit, by two processes", "pair", "crewkit ipc::Semaphore", "both-semaphore", || {
            Semaphore::new(1)
        }),
        beside("a value, by two processes", "update", "crewkit ipc::Value", "both-value", || Value::new(0_u64)),
        beside("events, there and back between two processes", "event", "crewkit ipc::Event", "both-event", || {
            Ok((Event::new()?, Event::new()?))
        }),
    ]
}

/// What making an object costs.
fn made() -> Contest {
    fn one<T>(name: &'static str, make: impl Fn() -> std::io::Result<T> + Send + 'static) -> Contestant {
        Contestant::crewkit(name, move || Ok(timed(move || make().map(drop))))
    }
    Contest::new(GROUP, "make an object", "object", Size::MultipleOf(100))
        .with(one("crewkit ipc::Lock", Lock::new))
        .with(one("crewkit ipc::RLock", RLock::new))
        .with(one("crewkit ipc::Semaphore", || Semaphore::new(1)))
        .with(one("crewkit ipc::Event", Event::new))
        .with(one("crewkit ipc::Barrier", || Barrier::new(2)))
        .with(one("crewkit ipc::Condition and its lock", || Condition::new(&Lock::new()?)))
        .with(one("crewkit ipc::Value", || Value::new(0_u64)))
        .with(one("crewkit ipc::Array of 16", || Array::new(&[0_u64; 16])))
        .with(one("crewkit ipc::Queue", || Queue::<u64>::bounded(100)))
        .with(python("make"))
        .target(Target::below("crewkit ipc::Lock", 20_000.0))
        .target(Target::below("crewkit ipc::Queue", 50_000.0))
        .remark("CPython's is a lock. Each of crewkit's is one descriptor, a condition with its lock and a queue two.")
}

/// What two processes, each on a processor of its own, do with one object, half of it each.
trait Shared: Clone + Serialize + DeserializeOwned + Send + 'static {
    fn work(&self, times: u64, is_first: bool) -> Outcome<()>;
}

impl Shared for Semaphore {
    fn work(&self, times: u64, _: bool) -> Outcome<()> {
        for _ in 0..times {
            drop(self.acquire()?);
        }
        Ok(())
    }
}

impl Shared for Value<u64> {
    fn work(&self, times: u64, _: bool) -> Outcome<()> {
        for _ in 0..times {
            self.update(|value| *value += 1)?;
        }
        Ok(())
    }
}

impl Shared for (Event, Event) {
    fn work(&self, times: u64, is_first: bool) -> Outcome<()> {
        let (mine, theirs) = if is_first { (&self.0, &self.1) } else { (&self.1, &self.0) };
        for _ in 0..times {
            if is_first {
                theirs.set()?;
            }
            mine.wait()?;
            mine.clear()?;
            if !is_first {
                theirs.set()?;
            }
        }
        Ok(())
    }
}

fn beside<T: Shared>(
    work: &'static str,
    operation: &'static str,
    ours: &'static str,
    theirs: &'static str,
    make: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Contest {
    let together = move || -> Outcome<Repetition> {
        let object = make()?;
        let (near, far) = pipe::<u64, bool>()?;
        let child = Process::spawn(assist::<T>, (far, object.clone()))?;
        Ok(Box::new(move |operations| {
            let _alive = &child;
            Placement::Apart.pin(0)?;
            let start = Instant::now();
            near.send(&operations.div_ceil(2))?;
            object.work(operations / 2, true)?;
            check("the other process has done its half", near.recv()?, true)?;
            Ok(start.elapsed().into())
        }))
    };
    Contest::new(GROUP, work, operation, Size::MultipleOf(1_000))
        .with(Contestant::crewkit(ours, together))
        .with(python(theirs))
        .target(Target::speed(ours, 20.0, &[PYTHON]))
}

/// The other process.
fn assist<T: Shared>((far, object): (Connection<bool, u64>, T)) {
    let _anywhere_else = Placement::Apart.pin(1);
    while let Ok(times) = far.recv() {
        let done = object.work(times, false).is_ok();
        if far.send(&done).is_err() {
            return;
        }
    }
}

/// Does it again and again; an error ends the repetition.
fn timed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    mut once: impl FnMut() -> Result<(), E> + 'static,
) -> Repetition {
    Box::new(move |operations| {
        let start = Instant::now();
        for _ in 0..operations {
            black_box(once()).map_err(Into::into)?;
        }
        Ok(start.elapsed().into())
    })
}

/// CPython, which measures itself with one of the methods of `shared.py`.
fn python(method: &'static str) -> Contestant {
    Contestant::peer(PYTHON, move || {
        let mut python = Python::start("shared.py", method)?;
        Ok(Box::new(move |operations| {
            let (cost, done) = python.measure(method, operations)?;
            check("operations", done, operations)?;
            Ok(cost)
        }))
    })
}

/// The mutex that has no owner to survive.
struct Plain(Box<UnsafeCell<libc::pthread_mutex_t>>);

impl Plain {
    fn new() -> Outcome<Self> {
        let mutex = Box::new(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: a place for attributes, which this initialises.
        check("pthread_mutexattr_init", unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) }, 0)?;
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: initialised attributes.
        let set = unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), shared) };
        check("pthread_mutexattr_setpshared", set, 0)?;
        // SAFETY: nobody else has the mutex yet; the attributes are initialised.
        check("pthread_mutex_init", unsafe { libc::pthread_mutex_init(mutex.get(), attributes.as_ptr()) }, 0)?;
        Ok(Self(mutex))
    }

    fn pair(&self) -> Outcome<()> {
        // SAFETY: the mutex was initialised, and does not move.
        let taken = unsafe { libc::pthread_mutex_lock(self.0.get()) };
        // SAFETY: as above.
        let released = unsafe { libc::pthread_mutex_unlock(self.0.get()) };
        if taken | released == 0 { Ok(()) } else { Err("the mutex does not work".into()) }
    }
}
