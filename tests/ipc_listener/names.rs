//! Names of listeners: taken, found in use, left behind, taken over, given back.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use crewkit::ipc::{Address, Auth, Listener};

use crate::{asleep, key, serves_the_honest};

/// A directory of a test's own, gone when this is.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let name = Address::unique().unwrap().to_string();
        let path = std::env::temp_dir().join(name.trim_start_matches('@'));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn in_use(path: &Path) -> String {
    let error = Listener::bind(path, Auth::SameUser).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    error.to_string()
}

#[test]
fn a_path_is_the_listeners_for_as_long_as_it_lives() {
    let directory = Directory::new();
    let path = directory.join("socket");
    for auth in [Auth::SameUser, Auth::Key(key())] {
        let listener = Listener::bind(path.as_path(), auth.clone()).unwrap();
        assert_eq!(listener.address().to_string(), path.display().to_string());
        serves_the_honest(&listener, &auth);
        assert_eq!(in_use(&path), "somebody listens at this path");
        serves_the_honest(&listener, &auth);
        drop(listener);
        assert!(!path.exists());
    }
}

#[test]
fn no_other_user_may_connect_where_only_this_one_is_served() {
    let directory = Directory::new();
    let path = directory.join("socket");
    let _listener = Listener::bind(path.as_path(), Auth::SameUser).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn what_others_have_put_in_its_place_stays() {
    let directory = Directory::new();
    let path = directory.join("socket");
    let listener = Listener::bind(path.as_path(), Auth::SameUser).unwrap();
    fs::remove_file(&path).unwrap();
    let successor = Listener::bind(path.as_path(), Auth::SameUser).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    drop(listener);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    serves_the_honest(&successor, &Auth::SameUser);
}

#[test]
fn a_socket_left_behind_is_taken_over() {
    let directory = Directory::new();
    let path = directory.join("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves it");
    let listener = Listener::bind(path.as_path(), Auth::SameUser).unwrap();
    serves_the_honest(&listener, &Auth::SameUser);
}

#[test]
fn nothing_else_is() {
    let directory = Directory::new();
    let file = directory.join("file");
    fs::write(&file, "precious").unwrap();
    assert!(in_use(&file).contains("something else than a socket"));
    let link = directory.join("link");
    drop(UnixListener::bind(directory.join("left behind")).unwrap());
    std::os::unix::fs::symlink("left behind", &link).unwrap();
    assert!(in_use(&link).contains("something else than a socket"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let busy = directory.join("busy");
    let _other = UnixListener::bind(&busy).unwrap();
    assert_eq!(in_use(&busy), "somebody listens at this path", "of whatever kind");
}

/// Between `bind` and `listen` a newborn looks like one left behind. Of all who come at once one listens, and keeps its name.
#[test]
fn of_those_who_take_over_at_once_one_does() {
    let directory = Directory::new();
    for round in 0..40 {
        let path = directory.join(&format!("socket {round}"));
        if round % 2 == 0 {
            drop(UnixListener::bind(&path).unwrap());
        }
        let start = Barrier::new(3);
        let listeners: Vec<_> = thread::scope(|scope| {
            let bind = || {
                start.wait();
                Listener::bind(path.as_path(), Auth::SameUser)
            };
            let threads: Vec<_> = (0..3).map(|_| asleep::spawn(scope, bind)).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        let refused = listeners.iter().filter_map(|listener| listener.as_ref().err());
        refused.for_each(|error| assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}"));
        let won: Vec<_> = listeners.iter().flatten().collect();
        let [winner] = won[..] else { panic!("{} listen in round {round}", won.len()) };
        serves_the_honest(winner, &Auth::SameUser);
    }
}

#[test]
fn an_abstract_name_is_free_as_soon_as_its_listener_is_gone() {
    let address = Address::unique().unwrap();
    for _ in 0..3 {
        let listener = Listener::bind(&address, Auth::SameUser).unwrap();
        let error = Listener::bind(&address, Auth::SameUser).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        drop(listener);
    }
    assert!(address.to_string().starts_with("@crewkit-"));
    assert_ne!(address, Address::unique().unwrap());
}

#[test]
fn a_name_that_is_too_long_is_said_to_be() {
    for address in [Address::Path("x".repeat(200).into()), Address::Abstract("x".repeat(200))] {
        let error = Listener::bind(address, Auth::SameUser).unwrap_err();
        assert!(error.to_string().contains("107 bytes at most"), "{error}");
    }
}
