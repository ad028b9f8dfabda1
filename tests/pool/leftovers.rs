//! What a pool leaves behind: nothing.

use std::collections::BTreeSet;

use crewkit::pool::{Pool, Task, TaskError};

use crate::support::{alone, in_time, pids, sigkill, wait_until};

fn entries(directory: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Open descriptors, without the one that reads the list.
fn descriptors() -> usize {
    entries("/proc/self/fd").len()
}

/// This process's own children, zombies included.
fn children() -> BTreeSet<String> {
    let tasks = entries("/proc/self/task");
    let of_task =
        |task: &String| std::fs::read_to_string(format!("/proc/self/task/{task}/children")).unwrap_or_default();
    tasks.iter().flat_map(|task| of_task(task).split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The threads of pools. Others come and go with the tests that wait for this one.
fn threads() -> usize {
    let is_a_pools = |task: &String| {
        let name = std::fs::read_to_string(format!("/proc/self/task/{task}/comm"));
        name.is_ok_and(|name| name.starts_with("crewkit-pool"))
    };
    entries("/proc/self/task").iter().filter(|task| is_a_pools(task)).count()
}

/// The temporary directories, where nothing with a name may stay.
fn named() -> BTreeSet<String> {
    let mut names = entries("/dev/shm");
    names.extend(entries("/tmp").into_iter().filter(|name| name.contains("crewkit")));
    names
}

#[test]
fn pools_leave_no_descriptor_no_process_no_thread_and_no_file() {
    let _alone = alone();
    in_time(|| {
        // The fork server stays for the next pool; so it is here before anything is counted.
        Pool::new(1).unwrap().join();
        let before = (descriptors(), children(), named());
        let mut kept = Vec::new();
        for round in 0..6 {
            let pool = Pool::builder().workers(2).retries(1).build().unwrap();
            let tasks: Vec<Task<u64>> = (0..100).map(|n| pool.submit(|n: u64| n, n)).collect();
            let panicked: Result<(), TaskError> = pool.apply(|()| panic!("on purpose"), ());
            assert!(matches!(panicked, Err(TaskError::Panicked { .. })));
            assert_eq!(threads(), 1);
            sigkill(pids(&pool)[0]);
            pool.map(|n: u64| n, 0..1_000).unwrap();
            drop(pool.imap_unordered(|n: u64| n, 0..50).next());
            match round % 3 {
                0 => pool.join(),
                1 => pool.terminate(),
                _ => {}
            }
            drop(pool);
            // Tasks that outlive their pool keep nothing of it but their results.
            kept.push(tasks);
        }
        wait_until("all is as before", || (descriptors(), children(), named()) == before && threads() == 0);
    });
}
