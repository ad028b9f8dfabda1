//! How many processors this process may use: affinity and cgroup quota.
//!
//! `std::thread::available_parallelism` asks the same files but rounds a quota down, so that 1.9 processors become
//! one worker. Here a quota is rounded up: a worker that is throttled now and then beats a processor that idles.
//! Everything but the reading is a pure function over the files' text.

use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

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
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let mut tightest: Option<Quota> = None;
    for (version, group) in cpu_groups(&groups) {
        for mount in mounts.lines().filter_map(Mount::parse).filter(|mount| mount.version == version) {
            for directory in mount.ancestors(group) {
                let found = match version {
                    Version::V2 => read(&directory.join("cpu.max")).and_then(|text| cpu_max(&text)),
                    Version::V1 => read(&directory.join("cpu.cfs_quota_us"))
                        .zip(read(&directory.join("cpu.cfs_period_us")))
                        .and_then(|(quota, period)| cfs_quota(&quota, &period)),
                };
                tightest = found.into_iter().chain(tightest).reduce(Quota::tighter);
            }
        }
    }
    tightest
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// The groups of `/proc/self/cgroup` that may limit processor time: v2's only one, and v1's with the `cpu` controller.
fn cpu_groups(text: &str) -> impl Iterator<Item = (Version, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        match (number, controllers) {
            ("0", "") => Some((Version::V2, group)),
            _ if controllers.split(',').any(|name| name == "cpu") => Some((Version::V1, group)),
            _ => None,
        }
    })
}

/// Where a cgroup hierarchy is mounted, and which of its groups is the root there (not `/` in most containers).
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: Version,
    root: String,
    point: PathBuf,
}

impl Mount {
    /// One line of `/proc/self/mountinfo`: `id parent dev root point options [optional…] - type source superoptions`.
    fn parse(line: &str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, point) = (unescape(front.next()?), unescape(front.next()?));
        let mut back = back.split(' ');
        let version = match back.next()? {
            "cgroup2" => Version::V2,
            "cgroup" if back.nth(1)?.split(',').any(|option| option == "cpu") => Version::V1,
            _ => return None,
        };
        Some(Self { version, root, point: point.into() })
    }

    /// The directories of `group` and of its ancestors as far as this mount shows them, the innermost first.
    fn ancestors(&self, group: &str) -> Vec<PathBuf> {
        // A group outside the mount's root reads `/../other`: it is not to be seen here.
        let inside = Path::new(group).strip_prefix(&self.root);
        let Ok(inside) = inside else { return Vec::new() };
        if inside.components().any(|part| part == Component::ParentDir) {
            return Vec::new();
        }
        inside.ancestors().map(|part| if part == Path::new("") { self.point.clone() } else { self.point.join(part) }).collect()
    }
}

/// Undoes the kernel's octal escapes (`\040` for a space) in a field of mountinfo.
fn unescape(field: &str) -> String {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&plain).into_owned()
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
    fn a_group_outside_the_mount_limits_nothing_here() {
        let container = Mount::parse(V1_MOUNT.lines().next().unwrap()).unwrap();
        assert_eq!(container.ancestors("/elsewhere"), Vec::<PathBuf>::new());
        let whole = Mount::parse(V2_MOUNT.trim_end()).unwrap();
        assert_eq!(whole.ancestors("/../other"), Vec::<PathBuf>::new());
        assert_eq!(whole.ancestors("/"), [PathBuf::from("/sys/fs/cgroup")]);
        assert_eq!(Mount::parse(V1_MOUNT.lines().nth(1).unwrap()), None);
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
