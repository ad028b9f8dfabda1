//! `ipc::Listener` and `Client` between processes: servers and clients that are killed, inherited listeners, other users, and
//! limits. A kill at each instruction is in `kill_points`.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

mod alone;
#[path = "alone/sleeping.rs"]
mod sleeping;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use alone::{Child, fork, open_fds};
use crewkit::ipc::{AcceptError, Address, Auth, AuthError, Client, ConnectError, Connection, Key, Listener, Peer};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect as connect_to, send, socket};
use nix::unistd::{Uid, setuid};

fn main() -> ExitCode {
    alone::main(&[
        ("the_path_of_a_killed_server_goes_to_the_next", the_path_of_a_killed_server_goes_to_the_next),
        ("a_client_sees_its_servers_death", a_client_sees_its_servers_death),
        ("a_killed_or_stopped_client_keeps_nobody_waiting", a_killed_or_stopped_client_keeps_nobody_waiting),
        ("a_listener_is_its_makers", a_listener_is_its_makers),
        ("an_heir_keeps_the_name_taken", an_heir_keeps_the_name_taken),
        ("a_crowd_that_speaks_drives_out_itself", a_crowd_that_speaks_drives_out_itself),
        ("without_descriptors_no_name_is_taken", without_descriptors_no_name_is_taken),
        ("other_users_are_told_apart", other_users_are_told_apart),
        ("without_descriptors_nobody_is_lost", without_descriptors_nobody_is_lost),
        ("the_silent_give_their_descriptors_to_who_comes", the_silent_give_their_descriptors_to_who_comes),
        ("nothing_is_left_over", nothing_is_left_over),
    ])
}

/// What never takes so long.
const LONG: Duration = Duration::from_secs(50);
/// A user that nobody is.
const NOBODY: Uid = Uid::from_raw(65_534);

fn key() -> Auth {
    Auth::Key(Key::new("of both"))
}

fn bind(auth: Auth) -> Listener {
    Listener::bind(Address::unique().unwrap(), auth).unwrap()
}

fn connect(address: &Address, auth: Auth) -> Result<Connection<u32, u32>, ConnectError> {
    Client::connect_timeout(address, auth, LONG)
}

/// A child that comes, is served, and ends.
fn client(address: &Address, auth: Auth) -> Child {
    fork(|| {
        let end = connect(address, auth).unwrap();
        end.send(&5).unwrap();
        assert_eq!(end.recv_timeout(LONG).unwrap(), 6);
    })
}

fn serve(listener: &Listener) {
    let end: Connection<u32, u32> = listener.accept_timeout(LONG).unwrap();
    end.send(&(end.recv_timeout(LONG).unwrap() + 1)).unwrap();
}

fn serves(listener: &Listener, auth: Auth) {
    let client = client(listener.address(), auth);
    serve(listener);
    assert_eq!(client.exit_code(), 0);
}

/// A child that listens, and what it does then.
fn server(address: &Address, auth: Auth, then: impl FnOnce(Listener)) -> Child {
    let (end, child) = alone::peer(|end: Connection<(), ()>| {
        let listener = Listener::bind(address, auth).unwrap();
        end.send(&()).unwrap();
        then(listener);
    });
    end.recv_timeout(LONG).unwrap();
    child
}

fn path() -> PathBuf {
    std::env::temp_dir().join(Address::unique().unwrap().to_string().trim_start_matches('@'))
}

fn the_path_of_a_killed_server_goes_to_the_next() {
    let path = path();
    let address = Address::from(path.as_path());
    for _ in 0..3 {
        let killed = server(&address, key(), |listener| drop(listener.accept::<u8, u8>()));
        killed.kill();
        assert!(path.exists());
        let refused = connect(&address, key()).unwrap_err();
        assert!(matches!(refused, ConnectError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused));
    }
    let listener = Listener::bind(&address, key()).unwrap();
    serves(&listener, key());
    drop(listener);
    assert!(!Path::new(&path).exists());
}

fn a_client_sees_its_servers_death() {
    // Before it is accepted, and after.
    let address = Address::unique().unwrap();
    let idle = server(&address, key(), |_listener| std::thread::sleep(LONG * 2));
    let waiting = fork(|| i32::from(!matches!(connect(&address, key()), Err(ConnectError::Closed))));
    sleeping::until_asleep(&waiting);
    idle.kill();
    assert_eq!(waiting.exit_code(), 0);

    let serving = server(&address, key(), |listener| {
        let _end: Connection<u32, u32> = listener.accept().unwrap();
        std::thread::sleep(LONG * 2);
    });
    let end = connect(&address, key()).unwrap();
    serving.kill();
    assert!(end.recv_timeout(LONG).is_err_and(|error| error.is_closed()));
}

fn a_killed_or_stopped_client_keeps_nobody_waiting() {
    let listener = bind(key());
    let [killed, stopped] = [0, 1].map(|_| fork(|| drop(connect(listener.address(), key()))));
    for child in [&killed, &stopped] {
        sleeping::until_asleep(child);
    }
    kill(stopped.pid(), Signal::SIGSTOP).unwrap();
    killed.kill();
    serves(&listener, key());
    assert_eq!(listener.refusals().latest.first().map(|refusal| refusal.why), Some(AuthError::Closed));
    // It has been asked and has not answered.
    assert!(format!("{listener:?}").contains("pending: 1"), "{listener:?}");
    kill(stopped.pid(), Signal::SIGCONT).unwrap();
    let _end: Connection<u8, u8> = listener.accept_timeout(LONG).unwrap();
    assert_eq!(stopped.exit_code(), 0);
}

fn a_listener_is_its_makers() {
    let path = path();
    let listener = Listener::bind(path.as_path(), Auth::SameUser).unwrap();
    let mut inherited = Some(listener);
    let heir = fork(|| {
        let listener = inherited.take().unwrap();
        assert!(matches!(listener.try_accept::<u8, u8>(), Err(AcceptError::ForeignProcess)));
        assert!(matches!(listener.accept::<u8, u8>(), Err(AcceptError::ForeignProcess)));
        assert_eq!((listener.refusals().total, listener.last_accepted()), (0, None));
        assert!(format!("{listener:?}").contains("another process"));
        drop(listener);
    });
    assert_eq!(heir.exit_code(), 0);
    let listener = inherited.unwrap();
    assert!(path.exists(), "the file is not the heir's to take away");
    serves(&listener, Auth::SameUser);
}

fn an_heir_keeps_the_name_taken() {
    for address in [Address::unique().unwrap(), Address::from(path())] {
        let listener = Listener::bind(&address, Auth::SameUser).unwrap();
        let heir = fork(|| std::thread::sleep(LONG * 2));
        let aside = path();
        if let Address::Path(path) = &address {
            // As after a kill.
            std::fs::hard_link(path, &aside).unwrap();
        }
        drop(listener);
        if let Address::Path(path) = &address {
            std::fs::rename(&aside, path).unwrap();
        }
        let error = Listener::bind(&address, Auth::SameUser).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}");
        heir.kill();
        serves(&Listener::bind(&address, Auth::SameUser).unwrap(), Auth::SameUser);
    }
}

fn a_crowd_that_speaks_drives_out_itself() {
    let listener = bind(key());
    let honest = fork(|| drop(connect(listener.address(), key()).unwrap()));
    sleeping::until_asleep(&honest);
    kill(honest.pid(), Signal::SIGSTOP).unwrap();
    // It has a place, and has been asked.
    assert!(listener.try_accept::<u8, u8>().unwrap_err().is_timeout());
    // A client that gives up has said hello, and its process keeps all the places that it can get.
    let crowd = fork(|| {
        let Address::Abstract(name) = listener.address() else { panic!("an abstract name") };
        let name = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        let hello = [&b"crew\x01\x01\x01\x00"[..], &[1; 32]].concat();
        let crowd: Vec<_> = (0..100)
            .map(|_| {
                let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
                connect_to(socket.as_raw_fd(), &name).unwrap();
                assert_eq!(send(socket.as_raw_fd(), &hello, MsgFlags::empty()), Ok(hello.len()));
                socket
            })
            .collect();
        std::thread::sleep(LONG * 2);
        drop(crowd);
    });
    while listener.refusals().total < 37 {
        assert!(listener.accept_timeout::<u8, u8>(Duration::from_millis(5)).unwrap_err().is_timeout());
    }
    let crowded = |pid: u32| {
        let latest = listener.refusals().latest;
        latest.iter().filter(|refusal| matches!(refusal.peer, Peer::Process { pid: of, .. } if of == pid)).count()
    };
    assert_eq!(crowded(crowd.pid().as_raw().cast_unsigned()), 32, "{:?}", listener.refusals());
    kill(honest.pid(), Signal::SIGCONT).unwrap();
    let _end: Connection<u8, u8> = listener.accept_timeout(LONG).unwrap();
    assert_eq!(honest.exit_code(), 0);
}

/// A listener that cannot be does not appear in the file system even for a moment.
fn without_descriptors_no_name_is_taken() {
    let directory = path();
    std::fs::create_dir(&directory).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH;
    File::open(&directory).unwrap().set_modified(long_ago).unwrap();
    let mut all = all_descriptors();
    let mut refused = 0;
    let listener = loop {
        match Listener::bind(directory.join("socket"), key()) {
            Ok(listener) => break listener,
            Err(error) => assert!(error.to_string().contains("open files"), "{error}"),
        }
        assert_eq!(std::fs::metadata(&directory).unwrap().modified().unwrap(), long_ago, "with {refused} descriptors");
        drop(all.pop());
        refused += 1;
    };
    assert_eq!(refused, 4);
    drop(listener);
    std::fs::remove_dir(directory).unwrap();
}

/// Whether this process has the right to become another user, and there is one here.
fn can_be_nobody() -> bool {
    let attempt = fork(|| i32::from(Uid::effective() == NOBODY || setuid(NOBODY).is_err()));
    attempt.exit_code() == 0
}

fn other_users_are_told_apart() {
    if !can_be_nobody() {
        println!("left out: users are told apart (this process can be one user only)");
        return;
    }
    for auth in [Auth::SameUser, Auth::SameUserAndKey(Key::new("of both"))] {
        let listener = bind(auth.clone());
        let address = listener.address().clone();
        // The client does not trust this listener, either, so it has to be one that asks nothing.
        let other = fork(|| {
            setuid(NOBODY).unwrap();
            let untrusted = connect(&address, auth.clone()).map(drop);
            assert!(matches!(untrusted, Err(ConnectError::Untrusted(AuthError::WrongUser))), "{untrusted:?}");
            let refused = connect(&address, key()).map(drop);
            assert!(matches!(refused, Err(ConnectError::Refused(AuthError::WrongUser))), "{refused:?}");
        });
        while listener.refusals().total < 2 {
            assert!(listener.accept_timeout::<u8, u8>(Duration::from_millis(5)).is_err());
        }
        let refusal = listener.refusals().latest[0];
        assert_eq!(refusal.why, AuthError::WrongUser);
        assert!(
            matches!(refusal.peer, Peer::Process { uid, pid } if uid == NOBODY.as_raw() && pid == other.pid().as_raw().cast_unsigned())
        );
        assert_eq!(other.exit_code(), 0);
        serves(&listener, auth);
    }
    // With a key alone, users do not matter.
    let listener = bind(key());
    let other = fork(|| {
        setuid(NOBODY).unwrap();
        drop(connect(listener.address(), key()).unwrap());
    });
    let _end: Connection<u8, u8> = listener.accept_timeout(LONG).unwrap();
    assert_eq!(other.exit_code(), 0);
    // A name left behind by another user is not taken over.
    let path = path();
    let left = fork(|| {
        setuid(NOBODY).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    });
    assert_eq!(left.exit_code(), 0);
    let error = Listener::bind(path.as_path(), Auth::SameUser).unwrap_err();
    assert_eq!(error.to_string(), "another user has left a socket at this path");
    std::fs::remove_file(path).unwrap();
}

/// As many files as this process may open, until they are dropped.
fn all_descriptors() -> Vec<File> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 100, hard).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn without_descriptors_nobody_is_lost() {
    let listener = bind(key());
    let client = client(listener.address(), key());
    sleeping::until_asleep(&client);
    let all = all_descriptors();
    for _ in 0..3 {
        let refused = listener.accept::<u8, u8>().unwrap_err();
        assert!(
            matches!(&refused, AcceptError::Io(error) if error.raw_os_error() == Some(Errno::EMFILE as i32)),
            "{refused}"
        );
    }
    drop(all);
    serve(&listener);
    assert_eq!(client.exit_code(), 0);
    let all = all_descriptors();
    assert!(Listener::bind(Address::unique().unwrap(), key()).is_err());
    drop(all);
    serves(&listener, key());
}

fn the_silent_give_their_descriptors_to_who_comes() {
    let listener = bind(key());
    let stopped = fork(|| drop(connect(listener.address(), key())));
    sleeping::until_asleep(&stopped);
    kill(stopped.pid(), Signal::SIGSTOP).unwrap();
    assert!(listener.try_accept::<u8, u8>().unwrap_err().is_timeout());
    let client = client(listener.address(), key());
    sleeping::until_asleep(&client);
    let all = all_descriptors();
    serve(&listener);
    drop(all);
    assert_eq!(listener.refusals().latest[0].why, AuthError::Crowded);
    assert_eq!(client.exit_code(), 0);
    stopped.kill();
}

fn nothing_is_left_over() {
    let before = open_fds();
    for round in 0..20 {
        let listener = bind(key());
        let dishonest = fork(|| {
            let other = if round % 2 == 0 { Auth::SameUser } else { Auth::Key(Key::new("another")) };
            drop(connect(listener.address(), other));
        });
        while listener.refusals().total == 0 {
            assert!(listener.accept_timeout::<u8, u8>(Duration::from_millis(1)).is_err());
        }
        assert_eq!(dishonest.exit_code(), 0);
        let gone = fork(|| drop(connect(listener.address(), key())));
        let end: Connection<u8, u8> = listener.accept_timeout(LONG).unwrap();
        assert_eq!(gone.exit_code(), 0);
        // Nobody honest comes after this.
        let listener = listener.handshake_timeout(Duration::from_millis(1));
        let silent = fork(|| drop(connect(listener.address(), key())));
        sleeping::until_asleep(&silent);
        kill(silent.pid(), Signal::SIGSTOP).unwrap();
        while listener.refusals().total == 1 {
            assert!(listener.accept_timeout::<u8, u8>(Duration::from_millis(1)).is_err());
        }
        assert_eq!(listener.refusals().latest[1].why, AuthError::TooSlow);
        silent.kill();
        let waiting = fork(|| drop(connect(listener.address(), key())));
        sleeping::until_asleep(&waiting);
        drop((end, listener));
        waiting.kill();
    }
    assert_eq!(open_fds(), before);
}
