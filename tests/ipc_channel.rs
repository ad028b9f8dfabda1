//! Endpoints of ipc-channel in crewkit's arguments, results and messages: in both directions, by every start method.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

#[expect(dead_code, reason = "for tests that fork by themselves")]
mod alone;

use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use alone::open_fds;
use crewkit::ipc::channel::{Endpoint, Passed};
use crewkit::ipc::{Connection, Fd, RecvError, SendError, pipe};
use crewkit::process::{Builder, Process, StartMethod};
use ipc_channel::TryRecvError;
use ipc_channel::ipc::{self, IpcBytesSender, IpcReceiver, IpcSender, IpcSharedMemory, OpaqueIpcReceiver};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const METHODS: [StartMethod; 3] = [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];
const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    crewkit::init();
    alone::main(&[
        ("a_child_sends_to_its_parent", a_child_sends_to_its_parent),
        ("a_parent_sends_to_its_child", a_parent_sends_to_its_child),
        ("both_ways_at_once_and_endpoints_inside_messages", both_ways_at_once_and_endpoints_inside_messages),
        ("memory_is_shared_both_ways", memory_is_shared_both_ways),
        ("an_endpoint_comes_back_as_a_result", an_endpoint_comes_back_as_a_result),
        ("bytes_and_opaque_endpoints_travel_too", bytes_and_opaque_endpoints_travel_too),
        ("what_was_sent_is_moved_and_what_was_not_is_here", what_was_sent_is_moved_and_what_was_not_is_here),
        ("what_is_no_endpoint_is_refused", what_is_no_endpoint_is_refused),
        ("outside_of_a_message_it_is_an_error", outside_of_a_message_it_is_an_error),
        ("leftovers_of_ipc_channel_are_an_error_once", leftovers_of_ipc_channel_are_an_error_once),
        ("nothing_is_left_behind", nothing_is_left_behind),
    ])
}

fn spawn<A, R>(method: StartMethod, f: impl Fn(A) -> R + Copy + Send + Sync + 'static, args: A) -> Process<R>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    Builder::new().start_method(method).spawn(f, args).unwrap()
}

fn a_child_sends_to_its_parent() {
    for method in METHODS {
        let (sender, receiver) = ipc::channel::<(u32, String)>().unwrap();
        let say = |sender: Passed<IpcSender<(u32, String)>>| {
            let sender = sender.into_inner().unwrap();
            (0..100).for_each(|number| sender.send((number, "x".repeat(5000))).unwrap());
        };
        let child = spawn(method, say, Passed::new(sender).unwrap());
        for number in 0..100 {
            let (came, text) = receiver.try_recv_timeout(SOON).unwrap();
            assert_eq!((came, text.len()), (number, 5000), "{method:?}");
        }
        child.join().unwrap();
        let end = receiver.try_recv_timeout(SOON);
        assert!(matches!(end, Err(TryRecvError::IpcError(_))), "nobody here has a sender any more: {end:?}");
    }
}

fn a_parent_sends_to_its_child() {
    for method in METHODS {
        let (sender, receiver) = ipc::channel::<u64>().unwrap();
        let sum = |receiver: Passed<IpcReceiver<u64>>| {
            let receiver = receiver.into_inner().unwrap();
            (0..100).map(|_| receiver.recv().unwrap()).sum::<u64>()
        };
        let child = spawn(method, sum, Passed::new(receiver).unwrap());
        (0..100).for_each(|number| sender.send(number).unwrap());
        assert_eq!(child.join().unwrap(), 4950, "{method:?}");
        if method != StartMethod::Fork {
            assert!(sender.send(0).is_err(), "the only receiver was the child's");
        }
    }
}

fn both_ways_at_once_and_endpoints_inside_messages() {
    type Question = (u64, IpcSender<u64>);
    for method in METHODS {
        let (questions, asked) = ipc::channel::<Question>().unwrap();
        let serve = |asked: Passed<IpcReceiver<Question>>| {
            let asked = asked.into_inner().unwrap();
            while let Ok((number, answer)) = asked.recv() {
                if number == 0 {
                    break;
                }
                answer.send(number * number).unwrap();
            }
        };
        let child = spawn(method, serve, Passed::new(asked).unwrap());
        for number in (0..10).rev() {
            let (answer, answers) = ipc::channel().unwrap();
            questions.send((number, answer)).unwrap();
            if number > 0 {
                assert_eq!(answers.try_recv_timeout(SOON).unwrap(), number * number, "{method:?}");
            }
        }
        child.join().unwrap();
    }
}

fn memory_is_shared_both_ways() {
    for method in METHODS {
        for len in [0, 1, 100_000] {
            let given = IpcSharedMemory::from_byte(7, len);
            let back = spawn(
                method,
                |given: Passed<IpcSharedMemory>| {
                    let given = given.into_inner().unwrap();
                    assert!(given.iter().all(|&byte| byte == 7));
                    Passed::new(IpcSharedMemory::from_byte(8, given.len())).unwrap()
                },
                Passed::new(given.clone()).unwrap(),
            );
            let back = back.join().unwrap().into_inner().unwrap();
            assert_eq!(back.len(), len, "{method:?}");
            assert!(back.iter().all(|&byte| byte == 8) && given.iter().all(|&byte| byte == 7));
        }
    }
}

fn an_endpoint_comes_back_as_a_result() {
    for method in METHODS {
        let child = spawn(
            method,
            |()| {
                let (sender, receiver) = ipc::channel::<String>().unwrap();
                sender.send("sent before the child's end".to_owned()).unwrap();
                Passed::new(receiver).unwrap()
            },
            (),
        );
        let receiver = child.join().unwrap().into_inner().unwrap();
        assert_eq!(receiver.recv().unwrap(), "sent before the child's end", "{method:?}");
    }
}

fn bytes_and_opaque_endpoints_travel_too() {
    let (sender, receiver) = ipc::bytes_channel().unwrap();
    let (numbers, opaque) = ipc::channel::<u8>().unwrap();
    let child = spawn(
        StartMethod::ForkServer,
        |(sender, opaque): (Passed<IpcBytesSender>, Passed<OpaqueIpcReceiver>)| {
            let numbers: IpcReceiver<u8> = opaque.into_inner().unwrap().to();
            sender.into_inner().unwrap().send(&[numbers.recv().unwrap(); 3]).unwrap();
        },
        (Passed::new(sender).unwrap(), Passed::new(opaque.to_opaque()).unwrap()),
    );
    numbers.send(5).unwrap();
    assert_eq!(receiver.recv().unwrap(), [5, 5, 5]);
    child.join().unwrap();
}

fn what_was_sent_is_moved_and_what_was_not_is_here() {
    let (sender, receiver) = ipc::channel::<u8>().unwrap();
    let passed = Passed::new(sender).unwrap();
    assert!(format!("{passed:?}").contains("here"), "{passed:?}");
    let (near, far) = pipe::<Passed<IpcSender<u8>>, ()>().unwrap();
    let (closed, _) = pipe::<Passed<IpcSender<u8>>, ()>().unwrap();
    assert!(matches!(closed.send(&passed), Err(SendError::Closed)));
    near.send(&passed).unwrap();
    let Err(SendError::NotSerializable(why)) = near.send(&passed) else { panic!("sent twice") };
    assert!(why.contains("already sent"), "{why}");
    assert!(format!("{passed:?}").contains("moved"), "{passed:?}");
    assert!(passed.into_inner().unwrap_err().to_string().contains("already sent"));
    let sender = far.recv().unwrap().into_inner().unwrap();
    sender.send(1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    drop(sender);
    assert!(receiver.recv().is_err(), "no copy was kept");
}

/// A descriptor, or none, that its receiver takes for an endpoint.
#[derive(Debug)]
struct Fake<E>(Option<Fd<OwnedFd>>, PhantomData<E>);

impl<E> Serialize for Fake<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, E: Endpoint> Deserialize<'de> for Fake<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Passed::<E>::deserialize(deserializer).map(|_| Self(None, PhantomData))
    }
}

fn refused<E: Endpoint>(fd: Option<OwnedFd>) -> String {
    let (near, far) = pipe().unwrap();
    near.send(&Fake::<E>(fd.map(Fd), PhantomData)).unwrap();
    let Err(RecvError::Decode(why)) = Connection::<(), Fake<E>>::recv(&far) else { panic!("taken") };
    why
}

fn what_is_no_endpoint_is_refused() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let program = std::fs::File::open("/proc/self/exe").unwrap();
    for fd in [reader.into(), stream.try_clone().unwrap().into(), program.into(), empty_file()] {
        assert!(refused::<IpcSender<u8>>(Some(fd)).contains("no such endpoint"));
    }
    assert!(refused::<IpcReceiver<u8>>(None).contains("did not come with it"));
    for fd in [stream.into(), empty_file()] {
        assert!(refused::<IpcSharedMemory>(Some(fd)).contains("no such endpoint"));
    }
}

/// A file without a byte and without a name.
fn empty_file() -> OwnedFd {
    nix::sys::memfd::memfd_create(c"empty", nix::sys::memfd::MFdFlags::empty()).unwrap()
}

fn outside_of_a_message_it_is_an_error() {
    let (sender, receiver) = ipc::channel::<u8>().unwrap();
    let (carrier, _carried) = ipc::channel::<Passed<IpcSender<u8>>>().unwrap();
    let error = carrier.send(Passed::new(sender).unwrap()).unwrap_err();
    assert!(error.to_string().len() > 1, "{error}");
    assert!(receiver.recv().is_err(), "it was dropped with the message");
}

fn leftovers_of_ipc_channel_are_an_error_once() {
    #[derive(Deserialize)]
    struct Refuses(#[expect(dead_code, reason = "only serialised")] u8);
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let (sender, _receiver) = ipc::channel::<u8>().unwrap();
    let (carrier, _carried) = ipc::channel::<(IpcSender<u8>, Refuses)>().unwrap();
    assert!(carrier.send((sender.clone(), Refuses(0))).is_err());
    assert!(Passed::new(sender.clone()).unwrap_err().to_string().contains("earlier message"));
    assert!(Passed::new(sender).is_ok());
}

fn there_and_back() {
    let (sender, receiver) = ipc::channel::<u8>().unwrap();
    let sender = Passed::new(sender).unwrap().into_inner().unwrap();
    sender.send(1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
}

fn nothing_is_left_behind() {
    // A temporary directory of this case's own: others work in the usual one.
    let own = std::env::temp_dir().join(format!("crewkit-ipc-channel-{}", std::process::id()));
    std::fs::create_dir(&own).unwrap();
    let child = Builder::new().env("TMPDIR", &own).spawn(
        |()| {
            there_and_back();
            std::fs::read_dir(std::env::temp_dir()).unwrap().count()
        },
        (),
    );
    let left = child.unwrap().join();
    std::fs::remove_dir_all(&own).unwrap();
    assert_eq!(left.unwrap(), 0, "a name in the temporary directory");
    there_and_back();
    let before = open_fds();
    (0..10).for_each(|_| there_and_back());
    assert_eq!(open_fds(), before);
}
