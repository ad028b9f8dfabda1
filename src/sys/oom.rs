//! What the kernel's out-of-memory killer has done. A pure function over what `/proc` and `/sys` say.

use std::path::Path;

use super::cgroup::{self, Version};

/// How many processes of this process's memory cgroup the out-of-memory killer has killed so far; where no such cgroup is to
/// be seen, how many of the whole machine. `None` where nobody says.
pub(crate) fn kills() -> Option<u64> {
    kills_by(|path| std::fs::read_to_string(path).ok())
}

fn kills_by(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let of_group = |(version, directory): (Version, std::path::PathBuf)| {
        let file = match version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        counter(&read(&directory.join(file))?)
    };
    let found = cgroup::directories("memory", &read).into_iter().find_map(of_group);
    found.or_else(|| counter(&read(Path::new("/proc/vmstat"))?))
}

fn counter(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|number| number.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kills_in(files: &[(&str, &str)]) -> Option<u64> {
        kills_by(|path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn the_innermost_group_that_says_so_counts() {
        let group = ("/proc/self/cgroup", "0::/a/b\n");
        let mount = ("/proc/self/mountinfo", "30 24 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
        let inner = ("/cg/a/b/memory.events", "low 0\noom 5\noom_kill 3\noom_group_kill 7\n");
        let outer = ("/cg/a/memory.events", "oom_kill 4\n");
        let machine = ("/proc/vmstat", "nr_free 1\noom_kill 9\n");
        assert_eq!(kills_in(&[group, mount, inner, outer, machine]), Some(3));
        assert_eq!(kills_in(&[group, mount, outer, machine]), Some(4));
        assert_eq!(kills_in(&[group, mount, machine]), Some(9));
        assert_eq!(kills_in(&[group, mount]), None);
    }

    #[test]
    fn version_1_says_it_in_another_file() {
        let group = ("/proc/self/cgroup", "4:memory:/a\n0::/\n");
        let mount = ("/proc/self/mountinfo", "35 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory\n");
        let control = ("/cg/memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 22\n");
        assert_eq!(kills_in(&[group, mount, control]), Some(22));
    }
}
