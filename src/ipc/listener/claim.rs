//! The name of a Unix socket in the file system: taken, taken over, given back.
//!
//! A name outlives its socket. So who finds one looks whether anybody listens at it, and whoever goes takes away only what is
//! its own. Between bind(2) and listen(2) a newborn socket looks like one that was left behind; a lock on the directory keeps
//! listeners of this crate from seeing each other there.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::sys::generation;
use crate::sys::rendezvous::{Name, connect_to, listen_at, lock_directory, user};

/// How long others may keep the directory. They need microseconds.
const PATIENCE: Duration = Duration::from_millis(100);

/// A name that this process has given a socket, taken away when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    /// It is found again also after a change of the working directory.
    path: PathBuf,
    file: File,
    maker: u32,
}

/// Which file it is: device and inode.
type File = (u64, u64);

impl Claim {
    /// Listens at a path. A socket of this user at which nobody listens any more loses its name.
    pub(super) fn listen(path: &Path, private: bool) -> io::Result<(OwnedFd, Self)> {
        let absolute = std::path::absolute(path)?;
        let directory = absolute.parent().unwrap_or(&absolute);
        // Without it a name that is free can be taken, but no other.
        let lock = lock_directory(directory, Deadline::after(PATIENCE));
        let listening = match listen_at(Name::Path(path), private) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                check_left_behind(path, lock.is_some())?;
                fs::remove_file(path)?;
                listen_at(Name::Path(path), private)
            }
            other => other,
        }?;
        let file = identity(&absolute)?;
        Ok((listening, Self { path: absolute, file, maker: generation::current() }))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Nobody takes the name over meanwhile: the socket still listens.
        if self.maker == generation::current() && identity(&self.path).is_ok_and(|file| file == self.file) {
            // If it cannot be taken away, the next listener takes it over.
            let _gone = fs::remove_file(&self.path);
        }
    }
}

/// An error unless nobody needs the name any more.
fn check_left_behind(path: &Path, is_locked: bool) -> io::Result<()> {
    let in_use = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    let found = fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() {
        return in_use("the path is that of something else than a socket");
    }
    match connect_to(Name::Path(path), Deadline::after(Duration::ZERO)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => return in_use("somebody listens at this path"),
    }
    if found.uid() != user() {
        return in_use("another user has left a socket at this path");
    }
    if !is_locked {
        return in_use("a socket was left at this path, and the directory cannot be locked to take its place");
    }
    Ok(())
}

fn identity(path: &Path) -> io::Result<File> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
