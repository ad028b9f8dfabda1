//! Where the files of this process's cgroups are. A pure function over what `/proc` says.

use std::path::{Component, Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// The directories of the cgroups in which `controller` governs this process, and of their ancestors, as far as they are
/// to be seen here; the innermost of each hierarchy first.
pub(super) fn directories(controller: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<(Version, PathBuf)> {
    let (Some(groups), Some(mounts)) = (read(Path::new("/proc/self/cgroup")), read(Path::new("/proc/self/mountinfo")))
    else {
        return Vec::new();
    };
    let mounts: Vec<_> = mounts.lines().filter_map(|line| Mount::parse(line, controller)).collect();
    groups_of(controller, &groups)
        .flat_map(|(version, group)| {
            let there = mounts.iter().filter(move |mount| mount.version == version);
            there.flat_map(|mount| mount.ancestors(group)).map(move |directory| (version, directory))
        })
        .collect()
}

/// The groups of `/proc/self/cgroup` that `controller` may act by: v2's only one, and v1's with that controller.
fn groups_of<'t>(controller: &str, text: &'t str) -> impl Iterator<Item = (Version, &'t str)> {
    text.lines().filter_map(move |line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        match (number, controllers) {
            ("0", "") => Some((Version::V2, group)),
            _ if controllers.split(',').any(|name| name == controller) => Some((Version::V1, group)),
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
    fn parse(line: &str, controller: &str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, point) = (unescape(front.next()?), unescape(front.next()?));
        let mut back = back.split(' ');
        let version = match back.next()? {
            "cgroup2" => Version::V2,
            "cgroup" if back.nth(1)?.split(',').any(|option| option == controller) => Version::V1,
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

#[cfg(test)]
mod tests {
    use super::*;

    const V2_MOUNT: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
    const CPU_MOUNT: &str = "36 25 0:31 /docker/abc /sys/fs/cgroup/cpu\\040set rw - cgroup cgroup rw,cpu,cpuacct";
    const MEMORY_MOUNT: &str = "37 25 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";

    #[test]
    fn a_group_outside_the_mount_is_not_to_be_seen() {
        let container = Mount::parse(CPU_MOUNT, "cpu").unwrap();
        assert_eq!(container.ancestors("/elsewhere"), Vec::<PathBuf>::new());
        let whole = Mount::parse(V2_MOUNT, "cpu").unwrap();
        assert_eq!(whole.ancestors("/../other"), Vec::<PathBuf>::new());
        assert_eq!(whole.ancestors("/"), [PathBuf::from("/sys/fs/cgroup")]);
    }

    #[test]
    fn each_controller_has_its_own_hierarchy_in_version_1() {
        assert_eq!(Mount::parse(MEMORY_MOUNT, "cpu"), None);
        let text = [CPU_MOUNT, MEMORY_MOUNT].join("\n");
        let read = |path: &Path| match path.to_str()? {
            "/proc/self/cgroup" => Some("9:memory:/a/b\n4:cpu,cpuacct:/docker/abc/x\n".to_owned()),
            "/proc/self/mountinfo" => Some(text.clone()),
            _ => None,
        };
        let found = |controller| directories(controller, read).into_iter().map(|(_, path)| path).collect::<Vec<_>>();
        let memory = ["/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"];
        assert_eq!(found("memory"), memory.map(PathBuf::from));
        assert_eq!(found("cpu"), ["/sys/fs/cgroup/cpu set/x", "/sys/fs/cgroup/cpu set"].map(PathBuf::from));
        assert_eq!(found("pids"), Vec::<PathBuf>::new());
    }
}
