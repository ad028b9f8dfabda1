//! How many descriptors a test process may open.

use std::fs::File;
use std::os::fd::IntoRawFd;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::alone::open_fds;

/// Allows this process `extra` descriptors more than it has.
pub(crate) fn allow_fds(extra: usize) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    // The numbers below must all be in use, so that "extra" is what it says.
    let names = std::fs::read_dir("/proc/self/fd").unwrap().map(|fd| fd.unwrap().file_name());
    let highest = names.filter_map(|name| name.to_str()?.parse::<usize>().ok()).max();
    while open_fds() <= highest.unwrap() {
        let _stays_open = File::open("/dev/null").unwrap().into_raw_fd();
    }
    setrlimit(Resource::RLIMIT_NOFILE, (open_fds() + extra) as u64, most).unwrap();
}
