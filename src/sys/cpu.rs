//! How many processors this process may use: affinity and cgroup quota.
//!
//! `std::thread::available_parallelism` asks the same files but rounds a quota down, so that 1.9 processors become
//! one worker. Here a quota is rounded up: a worker that is throttled now and then beats a processor that idles.
//! Everything but the reading is a pure function over the files' text.

use std::num::NonZeroUsize;
use std::path::Path;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::cgroup::{self, Version};

/// How many processors this process may use at once: those of its affinity mask, or fewer where a cgroup's CPU quota
/// (v2 `cpu.max`, v1 `cpu.cfs_quota_us`) allows less. At least one.
///
/// Python's `os.process_cpu_count`, which does not look at quotas. Of nested cgroups the tightest counts; a quota is
/// rounded up. The answer is computed anew at each call, because both limits may change while the process runs.
///
/// # Blocking
///
/// Never; it reads a few files under `/proc` and `/sys`.
///
/// ```
/// assert!(crewkit::process::cpu_count() >= 1);
/// ```
#[must_use]
pub fn cpu_count() -> usize {
    let allowed = affinity().max(1);
    quota(|path| std::fs::read_to_string(path).ok()).map_or(allowed, |quota| allowed.min(quota.processors()))
}

/// The size of the affinity mask. A machine with more processors than nix's mask can hold answers through std.
fn affinity() -> usize {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    };
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).count()
}

/// `microseconds` of processor time in each `period` of wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quota {
    microseconds: u64,
    period: u64,
}

impl Quota {
    fn new(microseconds: u64, period: u64) -> Option<Self> {
        (period > 0).then_some(Self { microseconds, period })
    }

    /// Whole processors, rounded up, at least one.
    fn processors(self) -> usize {
        usize::try_from(self.microseconds.div_ceil(self.period)).unwrap_or(usize::MAX).max(1)
    }

    fn tighter(self, other: Self) -> Self {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        if product(self.microseconds, other.period) <= product(other.microseconds, self.period) { self } else { other }
    }
}

/// The tightest quota of this process's cgroups and their ancestors, of either version.
fn quota(read: impl Fn(&Path) -> Option<String>) -> Option<Quota> {
    let found = cgroup::directories("cpu", &read).into_iter().filter_map(|(version, directory)| match version {
        Version::V2 => read(&directory.join("cpu.max")).and_then(|text| cpu_max(&text)),
        Version::V1 => read(&directory.join("cpu.cfs_quota_us"))
            .zip(read(&directory.join("cpu.cfs_period_us")))
            .and_then(|(quota, period)| cfs_quota(&quota, &period)),
    });
    found.reduce(Quota::tighter)
}

/// v2's `cpu.max`: `"150000 100000"`, or `"max 100000"` where nothing is limited.
fn cpu_max(text: &str) -> Option<Quota> {
    let mut fields = text.split_whitespace();
    Quota::new(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?)
}

/// v1's pair of files; a quota of -1 limits nothing.
fn cfs_quota(quota: &str, period: &str) -> Option<Quota> {
    Quota::new(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const V2_MOUNT: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1_MOUNT: &str = "36 25 0:31 /docker/abc /sys/fs/cgroup/cpu\\040set rw - cgroup cgroup rw,cpu,cpuacct\n\
                            37 25 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    /// What `quota` finds where only these files exist.
    fn processors(files: &[(&str, &str)]) -> Option<usize> {
        let files: HashMap<&Path, &str> = files.iter().map(|&(path, text)| (Path::new(path), text)).collect();
        quota(|path| files.get(path).map(|&text| text.to_owned())).map(Quota::processors)
    }

    #[test]
    fn quotas_round_up_and_the_tightest_of_nested_groups_counts() {
        let group = ("/proc/self/cgroup", "0::/a.slice/b.service\n");
        let mount = ("/proc/self/mountinfo", V2_MOUNT);
        let [root, a, b] = ["", "/a.slice", "/a.slice/b.service"].map(|part| format!("/sys/fs/cgroup{part}/cpu.max"));
        let table: &[(&str, &str, &str, Option<usize>)] = &[
            ("max 100000", "max 100000", "max 100000", None),
            ("max 100000", "max 100000", "150000 100000", Some(2)),
            ("max 100000", "400000 100000", "max 100000", Some(4)),
            ("max 100000", "190000 100000", "800000 100000", Some(2)),
            ("300000 100000", "110001 50000", "max 100000", Some(3)),
            ("200000 100000", "max 100000", "900000 100000", Some(2)),
            ("max 100000", "max 100000", "1000 100000", Some(1)),
            ("", "nonsense", "0 0", None),
        ];
        for &(at_root, at_a, at_b, expected) in table {
            let found = processors(&[group, mount, (&root, at_root), (&a, at_a), (&b, at_b)]);
            assert_eq!(found, expected, "{at_root} | {at_a} | {at_b}");
        }
    }

    #[test]
    fn version_1_is_read_below_the_containers_root_and_minus_one_is_no_limit() {
        let groups = ("/proc/self/cgroup", "9:cpuset:/x\n4:cpu,cpuacct:/docker/abc/inner\n");
        let mount = ("/proc/self/mountinfo", V1_MOUNT);
        let base = "/sys/fs/cgroup/cpu set";
        let [quota, period] = ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| format!("{base}/inner/{file}"));
        let [quota_outside, period_outside] =
            ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| format!("{base}/{file}"));
        let table = [
            ("-1\n", "-1\n", None),
            ("250000\n", "-1\n", Some(3)),
            ("-1\n", "100000\n", Some(1)),
            ("9\n", "nonsense", Some(1)),
        ];
        for (inner, outside, expected) in table {
            let files = [
                groups,
                mount,
                (&quota, inner),
                (&period, "100000\n"),
                (&quota_outside, outside),
                (&period_outside, "100000\n"),
            ];
            assert_eq!(processors(&files), expected, "{inner} | {outside}");
        }
    }

    #[test]
    fn missing_files_mean_no_quota() {
        assert_eq!(processors(&[]), None);
        assert_eq!(processors(&[("/proc/self/cgroup", "0::/\n")]), None);
    }

    #[test]
    fn affinity_narrows_the_count() {
        let everything = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let first = (0..CpuSet::count()).find(|&cpu| everything.is_set(cpu).unwrap()).unwrap();
        // A mask belongs to a thread: this one ends, and the test harness's threads keep theirs.
        let narrowed = std::thread::spawn(move || {
            let mut one = CpuSet::new();
            one.set(first).unwrap();
            nix::sched::sched_setaffinity(Pid::from_raw(0), &one).unwrap();
            cpu_count()
        });
        assert_eq!(narrowed.join().unwrap(), 1);
    }
}
