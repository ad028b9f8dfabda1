//! Fact 8, and the limits: many generators, kernels without marks for guards, no memory, forks, ends of threads.

#![expect(unsafe_code, reason = "a fork, limits of a process, a filter of system calls")]

use std::cell::RefCell;
use std::fs::read_to_string;
use std::os::unix::process::ExitStatusExt;

use crewkit::coroutine::{Builder, Generator, StackSize, Step, stack_stats, trim_stacks};

use crate::again::{alone, printed, well};
use crate::overflow::deep;

fn counter(start: u64) -> Generator<u64> {
    Generator::new(move |y, ()| (start..).try_for_each(|n| y.yield_(n)))
}

fn mappings() -> usize {
    read_to_string("/proc/self/maps").expect("/proc").lines().count()
}

#[test]
fn a_hundred_thousand_are_alive_at_once() {
    well(&alone("limits::a_hundred_thousand_are_alive_at_once", || {
        let most: usize = read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
        let mut all: Vec<_> = (0..100_000).map(counter).collect();
        let started = all.iter_mut().all(|generator| generator.next().is_some());
        assert!(started && all.iter_mut().enumerate().all(|(n, generator)| generator.next() == Some(n as u64 + 1)));
        assert_eq!(stack_stats().in_use, 100_000);
        assert!(stack_stats().mappings_per_stack || mappings() < most / 10, "{} mappings", mappings());
        all.truncate(10);
        trim_stacks();
        assert!(all.iter_mut().enumerate().all(|(n, generator)| generator.next() == Some(n as u64 + 2)));
        let left = stack_stats();
        assert_eq!(left.in_use, 10);
        assert!(left.reserved_bytes < 64 << 20, "{left:?}");
    }));
}

/// Makes a system call that takes an advice fail as on a kernel that does not know that. `at` is where the advice is in
/// `seccomp_data`: 16, and 8 for each argument before it.
fn forget_advice(call: libc::c_long, at: u32, advice: u32) {
    const fn statement(code: u32, k: u32) -> libc::sock_filter {
        #[expect(clippy::cast_possible_truncation, reason = "codes are 16 bits wide")]
        libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
    }
    const fn unless(k: u32, skip: u8) -> libc::sock_filter {
        let jump = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k);
        libc::sock_filter { jf: skip, ..jump }
    }
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    // The number of the call is at 0.
    let mut program = [
        statement(load, 0),
        unless(u32::try_from(call).expect("a small number"), 3),
        statement(load, at),
        unless(advice, 1),
        statement(libc::BPF_RET, libc::SECCOMP_RET_ERRNO | libc::EINVAL.unsigned_abs()),
        statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: 6, filter: program.as_mut_ptr() };
    // SAFETY: takes integers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the filter is a whole program, and copied by the kernel.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) }, 0);
}

const MADV_GUARD_INSTALL: u32 = 102;

/// As before Linux 6.13.
fn forget_marks() {
    forget_advice(libc::SYS_madvise, 32, MADV_GUARD_INSTALL);
}

/// As before Linux 6.14, or in a sandbox.
fn forget_many_at_once() {
    forget_advice(libc::SYS_process_madvise, 40, MADV_GUARD_INSTALL);
}

#[test]
fn without_marks_one_generator_too_many_is_an_error_that_names_the_limit() {
    let name = "limits::without_marks_one_generator_too_many_is_an_error_that_names_the_limit";
    let printed = well(&alone(name, || {
        forget_marks();
        let mut all = Vec::new();
        let error = loop {
            match Generator::<u64>::try_new(|y, ()| y.yield_(1)) {
                Ok(generator) => all.push(generator),
                Err(error) => break error,
            }
            assert!(all.len() < 1_000_000, "there is no limit");
        };
        assert!(stack_stats().mappings_per_stack);
        assert_eq!(all.iter_mut().filter_map(Iterator::next).count(), all.len(), "those before it work");
        all.truncate(all.len() / 2);
        assert!(all.len() > 1_000);
        all.push(Generator::try_new(|y, ()| y.yield_(1)).expect("there is room again"));
        println!("{:?}: {error}", error.kind());
    }));
    assert!(printed.contains("OutOfMemory: ") && printed.contains("vm.max_map_count"), "{printed}");
}

#[test]
fn without_marks_an_overflow_is_told_too() {
    let name = "limits::without_marks_an_overflow_is_told_too";
    let output = alone(name, || {
        forget_marks();
        let _ = Builder::new().name("old").generator(|y, ()| y.yield_(deep(0))).unwrap().send(());
    });
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    assert!(printed(&output).contains("coroutine 'old' has overflowed its stack of 64 KiB"), "{}", printed(&output));
}

#[test]
fn where_many_stacks_cannot_be_made_ready_at_once_each_one_is() {
    let name = "limits::where_many_stacks_cannot_be_made_ready_at_once_each_one_is";
    let output = alone(name, || {
        let by_mappings = stack_stats().mappings_per_stack;
        forget_many_at_once();
        let mut all: Vec<_> = (0..300).map(counter).collect();
        assert!(all.iter_mut().enumerate().all(|(n, generator)| generator.next() == Some(n as u64)));
        assert_eq!(stack_stats().mappings_per_stack, by_mappings);
        let _ = Builder::new().name("single").generator(|y, ()| y.yield_(deep(0))).unwrap().send(());
    });
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    assert!(printed(&output).contains("coroutine 'single' has overflowed its stack"), "{}", printed(&output));
}

#[test]
fn too_little_memory_is_an_error() {
    let printed = well(&alone("limits::too_little_memory_is_an_error", || {
        let pages: u64 = read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
        let limit = pages * 4096 + (64 << 20);
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: reads the structure.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        let mut all = Vec::with_capacity(1_000);
        let error = loop {
            match Builder::new().stack(StackSize::Huge).generator(|y, ()| y.yield_(1)) {
                Ok(generator) => all.push(generator),
                Err(error) => break error,
            }
        };
        assert!((8..100).contains(&all.len()), "{}", all.len());
        assert_eq!(all.iter_mut().filter_map(Iterator::next).count(), all.len());
        all.pop();
        assert!(Builder::new().stack(StackSize::Huge).generator(|y, ()| y.yield_(1)).is_ok());
        println!("{:?}: {error}", error.kind());
    }));
    assert!(printed.contains("OutOfMemory: reserving memory for stacks: "), "{printed}");
}

#[test]
fn fact_8_generators_and_their_guards_survive_a_fork_and_a_trim() {
    let output = alone("limits::fact_8_generators_and_their_guards_survive_a_fork_and_a_trim", || {
        let mut suspended = counter(7);
        suspended.next();
        assert_eq!(counter(0).next(), Some(0));
        trim_stacks();
        // SAFETY: the child goes on with what a forked child of a process with several threads may do: it allocates
        // nothing but what its own coroutines need, on a heap that libtest's waiting thread does not hold.
        if unsafe { libc::fork() } == 0 {
            assert_eq!(suspended.next(), Some(8));
            let _ = Builder::new().name("child").generator(|y, ()| y.yield_(deep(0))).unwrap().send(());
        }
        let mut status = 0;
        // SAFETY: writes the status.
        unsafe { libc::wait(&raw mut status) };
        assert_eq!(suspended.next(), Some(8), "the child's copy was its own");
        println!("child: {}", libc::WTERMSIG(status));
    });
    let printed = well(&output);
    assert!(printed.contains("child: 6") && printed.contains("coroutine 'child' has overflowed"), "{printed}");
}

#[test]
fn idle_stacks_are_used_again_and_beyond_a_number_given_back() {
    std::thread::spawn(|| {
        for _ in 0..3 {
            let all: Vec<_> = (0..3_000).map(counter).collect();
            assert_eq!(stack_stats().in_use, 3_000);
            drop(all);
            let stats = stack_stats();
            assert_eq!((stats.in_use, stats.warm, stats.cold), (0, 1_024, 1_976));
            assert!(stats.reserved_bytes < 3_100 * (68 << 10), "nothing is reserved twice: {stats:?}");
        }
        trim_stacks();
        assert_eq!(stack_stats().reserved_bytes, 0);
        assert_eq!(counter(5).next(), Some(5));
    })
    .join()
    .unwrap();
}

#[test]
fn a_generator_in_a_thread_local_ends_with_its_thread() {
    thread_local! {
        static LATE: RefCell<Option<Generator<u64>>> = const { RefCell::new(None) };
    }
    struct Tell(std::sync::mpsc::Sender<&'static str>);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let tell = Tell(sender);
        // Registered before the pool of stacks, so it is destroyed after that.
        LATE.with_borrow_mut(|late| {
            let generator = Generator::new(move |y, ()| {
                let _tell = tell;
                y.yield_(1)
            });
            assert_eq!(generator.send(()).unwrap(), Step::Yield(1));
            *late = Some(generator);
        });
    })
    .join()
    .unwrap();
    assert_eq!(receiver.recv(), Ok("dropped"));
}
