//! `init` in `main`, where libtest is not: forgotten, not reached, reached with threads; and a program whose file
//! changes while it runs. `harness = false`: this program runs itself in the modes that the checks need.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crewkit::process::{Builder, Exit, ForkError, Process, SpawnError, StartMethod};

const MODE: &str = "CREWKIT_TEST_MODE";
const BEFORE_INIT: &str = "CREWKIT_TEST_BEFORE_INIT";
const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];
const SOON: Duration = Duration::from_secs(5);

fn main() {
    // What nextest asks of every test program: its tests, and those that are ignored.
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("init_in_main: test");
        }
        return;
    }
    let mode = std::env::var(MODE).unwrap_or_default();
    if mode == "forgotten" {
        return forgotten();
    }
    // In a process that crewkit executes this is where it goes wrong, if it is to.
    if std::env::var_os("CREWKIT_BOOT").is_some() {
        misfortune(&std::env::var(BEFORE_INIT).unwrap_or_default());
    }
    crewkit::init();
    crewkit::init();
    match mode.as_str() {
        "" => all(),
        "dying" => dying(),
        "hanging" => hanging(),
        "threads" => threads(),
        "replaced" => replaced(),
        "arguments" => arguments(),
        "stray" => unreachable!("init returned although the variable was set"),
        other => panic!("no mode {other}"),
    }
    println!("passed");
}

fn all() {
    assert_eq!(start_and_join(), 42);
    for mode in ["forgotten", "hanging", "threads", "replaced"] {
        check(mode, "", &run(mode, ""));
    }
    for how in ["abort", "exit 3", "panic"] {
        check("dying", how, &run("dying", how));
    }
    let output = command("arguments", "").args(["one", "--two"]).output().expect("this program");
    check("arguments", "", &output);
    stray();
}

fn command(mode: &str, before_init: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program's path"));
    command.env(MODE, mode).env(BEFORE_INIT, before_init);
    command
}

fn run(mode: &str, before_init: &str) -> Output {
    command(mode, before_init).output().expect("this program")
}

fn check(mode: &str, how: &str, output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Once: a child that ran main again would say it, too.
    assert!(output.status.success() && out.matches("passed").count() == 1, "{mode} {how}: {out}\n{err}");
    println!("process_init: {mode} {how} ... ok");
}

fn start_and_join() -> u32 {
    Process::spawn(|x: u32| x * 2, 21).expect("a start").join().expect("a result")
}

fn forgotten() {
    for method in METHODS {
        let error = Builder::new().start_method(method).spawn(|()| (), ()).expect_err("a refusal");
        assert!(matches!(error, SpawnError::NotInitialized), "{error}");
        assert!(error.to_string().contains("crewkit::init()"), "{error}");
    }
    let children = std::fs::read_to_string("/proc/thread-self/children").expect("a list");
    assert_eq!(children, "", "something was started");
    // A fork needs no main.
    assert_eq!(Process::fork(|| 7_u8).expect("a fork").join().expect("a result"), 7);
    println!("passed");
}

fn misfortune(how: &str) {
    match how {
        "" => {}
        "abort" => std::process::abort(),
        "exit 3" => std::process::exit(3),
        "panic" => panic!("before init"),
        "hang" => loop {
            std::thread::park();
        },
        "thread" => {
            std::thread::spawn(std::thread::park);
        }
        other => panic!("no misfortune {other}"),
    }
}

fn dying() {
    let expected = |exit| match std::env::var(BEFORE_INIT).as_deref() {
        Ok("abort") => matches!(exit, Exit::Signal { signal: 6, .. }),
        Ok("exit 3") => exit == Exit::Code(3),
        Ok("panic") => exit == Exit::Code(101),
        _ => false,
    };
    for method in METHODS {
        let begun = Instant::now();
        // An argument that does not fit into the socket: nobody reads it.
        let error = Builder::new().start_method(method).spawn(|_: Vec<u64>| (), vec![u64::MAX; 1 << 18]);
        let error = error.expect_err("a death");
        assert!(matches!(&error, SpawnError::Died(exit) if expected(*exit)), "{method:?}: {error}");
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
}

fn hanging() {
    // Set here: the checks above it have no misfortune in their environment.
    for method in METHODS {
        let patience = Duration::from_millis(200);
        let error = hang(method, patience);
        assert!(matches!(error, SpawnError::TimedOut), "{method:?}: {error}");
    }
    // The server that hung was killed, and the next one is as good as its program.
    let children = std::fs::read_to_string("/proc/thread-self/children").expect("a list");
    let running = children.split_whitespace().filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.contains(") Z ")
    });
    assert_eq!(running.count(), 0, "{children}");
    set(BEFORE_INIT, "");
    assert_eq!(start_and_join(), 42);
}

fn hang(method: StartMethod, patience: Duration) -> SpawnError {
    set(BEFORE_INIT, "hang");
    let begun = Instant::now();
    let started = Builder::new().start_method(method).start_timeout(patience).spawn(|()| (), ());
    assert!(begun.elapsed() >= patience && begun.elapsed() < SOON, "{:?}", begun.elapsed());
    started.expect_err("a timeout")
}

#[expect(unsafe_code, reason = "the environment of a process with one thread")]
fn set(key: &str, value: &str) {
    // SAFETY: this program has one thread here.
    unsafe { std::env::set_var(key, value) };
}

fn threads() {
    set(BEFORE_INIT, "thread");
    let error = Process::spawn(|()| (), ()).expect_err("a refusal");
    assert!(matches!(error, SpawnError::Fork(ForkError::Multithreaded { threads: 2 })), "{error}");
    let error = Builder::new().start_method(StartMethod::Spawn).spawn(|()| (), ()).expect_err("a refusal");
    assert!(matches!(error, SpawnError::Setup(_)) && error.to_string().contains("2 threads"), "{error}");
}

/// Runs a copy of this program, and replaces that by something else before the first start.
fn replaced() {
    const COPY: &str = "CREWKIT_TEST_COPY";
    let Some(copy) = std::env::var_os(COPY) else {
        let copy = std::env::temp_dir().join(format!("crewkit-process-init-{}", std::process::id()));
        std::fs::copy(std::env::current_exe().expect("this program's path"), &copy).expect("a copy");
        let output = Command::new(&copy).env(COPY, &copy).output().expect("the copy");
        let _ = std::fs::remove_file(&copy);
        return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    std::fs::remove_file(&copy).expect("a removal");
    std::fs::write(&copy, "not a program").expect("a replacement");
    for method in METHODS {
        let process = Builder::new().start_method(method).spawn(|x: u32| x + 1, 1).expect("a start");
        assert_eq!(process.join().expect("a result"), 2);
    }
}

/// A child sees the arguments that the program was given.
fn arguments() {
    let given: Vec<String> = std::env::args().collect();
    assert_eq!(given.len(), 3);
    for method in METHODS {
        let process = Builder::new().start_method(method).spawn(|()| std::env::args().collect::<Vec<_>>(), ());
        assert_eq!(process.expect("a start").join().expect("a result"), given);
    }
}

/// The variable without the descriptors: an accident, and not a way into the program.
fn stray() {
    for role in ["server", "child", "nonsense"] {
        let output = command("stray", "").env("CREWKIT_BOOT", role).output().expect("this program");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{role}: {err}");
        assert!(err.contains("CREWKIT_BOOT is set although"), "{role}: {err}");
    }
    println!("process_init: stray ... ok");
}
