//! What has a name after all: files for a time, in a folder where nobody else makes any, and shared memory, where others do.
//!
//! # Safety
//!
//! The environment is written while the process has one thread, which [`Names::begin`] checks.

#![expect(unsafe_code, reason = "a variable of the environment")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So long names of others' may be there that were not before.
const SOON: Duration = Duration::from_secs(20);

/// What was there before.
pub(crate) struct Names {
    folder: PathBuf,
    shared: BTreeSet<OsString>,
}

impl Names {
    /// From now on files for a time are made in an empty folder, by this process and those that it starts.
    pub(crate) fn begin() -> Self {
        let folder = std::env::temp_dir().join(format!("crewkit-chaos-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), 1, "one thread");
        // SAFETY: no other thread is there to read it.
        unsafe { std::env::set_var("TMPDIR", &folder) };
        Self { folder, shared: shared() }
    }

    /// Nothing has been left over.
    pub(crate) fn end(self) {
        let left = names_in(&self.folder);
        fs::remove_dir_all(&self.folder).unwrap();
        assert!(left.is_empty(), "left over: {left:?}");
        let begin = Instant::now();
        let mut new = &shared() - &self.shared;
        while !new.is_empty() {
            assert!(begin.elapsed() < SOON, "left over: {new:?}");
            std::thread::sleep(Duration::from_millis(20));
            new = &new & &shared();
        }
    }
}

/// The names of this crate's shared memory, where the system has any.
fn shared() -> BTreeSet<OsString> {
    let mut names = names_in(Path::new("/dev/shm"));
    names.retain(|name| name.to_string_lossy().contains("crewkit"));
    names
}

fn names_in(folder: &Path) -> BTreeSet<OsString> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => panic!("{}: {error}", folder.display()),
    }
}
