//! What a new process is: environment, directory, streams, limits, names, signals, descriptors.
#![cfg(feature = "processes")]
#![expect(unsafe_code, reason = "the environment of a process with one thread is changed, and its signals are")]

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use crewkit::process::{Builder, Process, ProcessError, SpawnError, StartMethod, Stdio, current, parent};
use serde::Serialize;
use serde::de::DeserializeOwned;

crewkit::enable_test_support!();

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

/// Runs `f` in a process by each start method, built by `build`.
fn each<R, F>(build: impl Fn(Builder) -> Builder, f: F) -> Vec<R>
where
    R: Serialize + DeserializeOwned,
    F: Fn(()) -> R + Copy + Send + Sync + 'static,
{
    let run = |method| build(Builder::new().start_method(method)).spawn(f, ()).expect("a start").join();
    METHODS.into_iter().map(|method| run(method).unwrap_or_else(|error| panic!("{method:?}: {error}"))).collect()
}

#[test]
fn variables_are_set_removed_and_cleared() {
    let seen = each(
        |builder| builder.env("CREWKIT_A", "1").env("CREWKIT_B", "2").env("CREWKIT_A", "3").env_remove("CREWKIT_B"),
        |()| (std::env::var("CREWKIT_A").ok(), std::env::var("CREWKIT_B").ok(), std::env::var_os("PATH").is_some()),
    );
    for seen in seen {
        assert_eq!(seen, (Some("3".to_owned()), None, std::env::var_os("PATH").is_some()));
    }
    let alone = each(
        |builder| builder.env("CREWKIT_A", "1").env_clear().env("CREWKIT_C", "4"),
        |()| std::env::vars().collect::<Vec<_>>(),
    );
    for alone in alone {
        assert_eq!(alone, [("CREWKIT_C".to_owned(), "4".to_owned())]);
    }
}

#[test]
fn variables_need_not_be_text() {
    let value = OsStr::from_bytes(b"\xff\xfe=\x80");
    let seen = each(
        |builder| builder.env(OsStr::from_bytes(b"CREWKIT_\xf0"), value),
        |()| std::env::var_os(OsStr::from_bytes(b"CREWKIT_\xf0")).map(OsString::into_vec),
    );
    for seen in seen {
        assert_eq!(seen.as_deref(), Some(value.as_bytes()));
    }
}

#[test]
#[should_panic(expected = "not a variable of an environment")]
fn an_impossible_variable_is_refused_at_once() {
    let _ = Builder::new().env("A=B", "c");
}

/// The fork server was started before; what counts is the owner's state at each start.
#[test]
fn environment_directory_and_umask_are_those_of_the_owner_at_that_moment() {
    type Seen = (Option<String>, std::path::PathBuf, String);
    fn look(_: ()) -> Seen {
        let directory = std::env::current_dir().expect("a current directory");
        (std::env::var("CREWKIT_NOW").ok(), directory, umask())
    }
    fn umask() -> String {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
        status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))
            .map(|mask| mask.trim().to_owned())
            .unwrap_or_default()
    }
    unsafe extern "C" {
        #[link_name = "umask"]
        safe fn set_umask(mask: u32) -> u32;
    }
    let inner = |()| {
        let before: Seen = Process::spawn(look, ()).expect("a start").join().expect("a look");
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("CREWKIT_NOW", "now") };
        std::env::set_current_dir("/proc").expect("/proc");
        set_umask(0o137);
        let after: Seen = Process::spawn(look, ()).expect("a start").join().expect("a look");
        (before, after)
    };
    let (before, after) = Process::spawn(inner, ()).unwrap().join().unwrap();
    assert_eq!((before.0, before.1), (None, std::env::current_dir().unwrap()));
    assert_eq!(after, (Some("now".to_owned()), "/proc".into(), "0137".to_owned()));
}

#[test]
fn a_directory_can_be_chosen_and_a_wrong_one_is_an_error() {
    for seen in each(|builder| builder.current_dir("/proc"), |()| std::env::current_dir().ok()) {
        assert_eq!(seen.as_deref(), Some("/proc".as_ref()));
    }
    let error = Builder::new().current_dir("/proc/no such").spawn(|()| (), ()).unwrap_err();
    assert!(matches!(&error, SpawnError::Io(error) if error.kind() == std::io::ErrorKind::NotFound), "{error}");
}

#[test]
fn standard_input_is_empty_unless_given() {
    for read in each(|builder| builder, |()| std::io::stdin().read_to_end(&mut Vec::new()).ok()) {
        assert_eq!(read, Some(0));
    }
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"given").unwrap();
    drop(writer);
    let process = Builder::new().stdin(reader).spawn(|()| std::io::read_to_string(std::io::stdin()).ok(), ());
    assert_eq!(process.unwrap().join().unwrap().as_deref(), Some("given"));
}

#[test]
fn output_and_error_go_where_they_are_sent() {
    for method in METHODS {
        let (mut output, stdout) = std::io::pipe().unwrap();
        let (mut errors, stderr) = std::io::pipe().unwrap();
        let builder = Builder::new().start_method(method).name("talker").stdout(stdout).stderr(stderr);
        // Without a line's end: what is buffered must not be lost.
        let process = builder.spawn(
            |()| {
                print!("out");
                eprint!("err ");
                panic!("boom")
            },
            (),
        );
        drop(builder);
        let result: Result<(), ProcessError> = process.unwrap().join();
        assert!(matches!(result, Err(ProcessError::Panicked { .. })));
        let (mut out, mut err) = (String::new(), String::new());
        output.read_to_string(&mut out).unwrap();
        errors.read_to_string(&mut err).unwrap();
        assert_eq!(out, "out");
        // One line of the panic, and no backtrace.
        assert!(err.starts_with("err crewkit: process ") && err.ends_with(": boom\n"), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let process = Builder::new().stdout(Stdio::null()).spawn(
        |()| std::fs::read_link("/proc/self/fd/1").map(|target| target.display().to_string()).unwrap_or_default(),
        (),
    );
    assert_eq!(process.unwrap().join().unwrap(), "/dev/null");
}

#[cfg(feature = "threads")]
#[test]
fn th10_a_process_waits_for_its_threads_before_it_leaves() {
    use crewkit::thread;
    for method in METHODS {
        let (mut reader, stdout) = std::io::pipe().expect("a pipe");
        let process = Builder::new().start_method(method).stdout(stdout).spawn(
            |()| {
                thread::at_exit(|| println!("callback")).expect("the process is not ending");
                let waited_for = || {
                    thread::main().wait().expect("not the main thread");
                    println!("thread");
                };
                drop(thread::spawn(waited_for));
                let daemon = thread::Builder::new().daemon(true).spawn(|| {
                    loop {
                        std::thread::park();
                    }
                });
                daemon.expect("a thread").is_daemon()
            },
            (),
        );
        assert!(process.expect("a start").join().expect("a result"));
        let mut output = String::new();
        reader.read_to_string(&mut output).expect("the process has ended");
        assert_eq!(output, "callback\nthread\n", "{method:?}");
    }
}

/// The line about a panic has no reader: the panic is told all the same.
#[test]
fn a_panic_is_told_although_nobody_reads_standard_error() {
    for method in METHODS {
        let (reader, stderr) = std::io::pipe().unwrap();
        drop(reader);
        let process = Builder::new().start_method(method).stderr(stderr).spawn(|()| panic!("unheard"), ());
        let result: Result<(), ProcessError> = process.unwrap().join();
        let Err(ProcessError::Panicked { message, .. }) = result else { panic!("{method:?}: {result:?}") };
        assert_eq!(message, "unheard");
    }
}

#[test]
fn nothing_is_open_but_what_was_handed_over() {
    for open in each(
        |builder| builder,
        |()| {
            let entries = std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
            entries
                .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
                .map(|to| to.display().to_string())
                .collect()
        },
    ) {
        let open: Vec<String> = open;
        // Standard streams aside: the life socket, the life line, the pulse that it was opened from.
        let others: Vec<_> = open.iter().filter(|to| to.starts_with("socket:") || to.starts_with("pipe:")).collect();
        let streams = (0..3).filter(|number| {
            let to = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
            *number > 0 && !to.starts_with("/")
        });
        assert!(others.len() <= 3 + streams.count(), "{open:?}");
    }
}

#[test]
fn names_and_pids_are_known_on_both_sides() {
    assert_eq!(current().name(), "main");
    assert!(parent().is_none());
    for method in METHODS {
        let builder = Builder::new().start_method(method).name("reader of files");
        let process = builder
            .spawn(
                |()| {
                    let parent = parent().expect("a parent");
                    let title = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
                    let inner =
                        Process::spawn(|()| crewkit::process::parent().map(|parent| parent.name().to_owned()), ());
                    let inner = inner.expect("a start").join().expect("a name");
                    (current().name().to_owned(), current().pid(), parent.name().to_owned(), parent.pid(), title, inner)
                },
                (),
            )
            .unwrap();
        assert_eq!(process.name(), "reader of files");
        let pid = process.pid();
        let seen = process.join().unwrap();
        assert_eq!(seen.0, "reader of files");
        assert_eq!(seen.1, pid);
        assert_eq!((seen.2.as_str(), seen.3), ("main", std::process::id()));
        assert_eq!(seen.4.trim_end(), "reader of files");
        assert_eq!(seen.5.as_deref(), Some("reader of files"));
    }
    let (one, two) = (Process::spawn(|()| (), ()).unwrap(), Process::spawn(|()| (), ()).unwrap());
    assert!(one.name().starts_with("Process-") && one.name() != two.name());
}

fn limit(of: &str) -> String {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limits.lines().find(|line| line.starts_with(of)).unwrap_or_default().to_owned()
}

#[test]
fn limits_hold() {
    for seen in each(|builder| builder.limit_open_files(33), |()| limit("Max open files")) {
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["Max", "open", "files", "33", "33", "files"]);
    }
    for seen in each(|builder| builder, |()| limit("Max open files")) {
        assert_eq!(seen, limit("Max open files"), "the fork server gives back the limit that it raised for itself");
    }
    for method in METHODS {
        let process = Builder::new()
            .start_method(method)
            .limit_memory(256 << 20)
            .stderr(Stdio::null())
            .spawn(|()| std::hint::black_box(vec![1_u8; 512 << 20]).len(), ());
        let error = process.unwrap().join().unwrap_err();
        assert!(matches!(error, ProcessError::Killed { signal: 6, .. }), "{error}");
    }
    let spin = |()| -> () {
        loop {
            std::hint::spin_loop();
        }
    };
    let process = Builder::new().limit_cpu(Duration::from_millis(1)).spawn(spin, ()).unwrap();
    let error = process.join().unwrap_err();
    assert!(matches!(error, ProcessError::Killed { signal: 24, .. }), "{error}");
}

#[test]
fn a_nice_value_is_set_and_an_impossible_limit_is_an_error() {
    let nice = |()| {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name, in brackets, may contain blanks; the nice value is the 17th field after it.
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16).map(str::to_owned))
    };
    for seen in each(|builder| builder.nice(7), nice) {
        assert_eq!(seen.as_deref(), Some("7"));
    }
    // Above the hard limit that the kernel allows anybody.
    for method in METHODS {
        let error = Builder::new().start_method(method).limit_open_files(u64::MAX - 1).spawn(|()| (), ()).unwrap_err();
        assert!(matches!(error, SpawnError::Setup(_)), "{error}");
    }
}

#[test]
fn signals_start_anew() {
    fn dispositions(_: ()) -> Vec<String> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().filter(|line| line.starts_with("Sig")).map(|line| line.replace('\t', " ")).collect()
    }
    unsafe extern "C" {
        safe fn signal(number: i32, handler: usize) -> usize;
    }
    let inner = |()| {
        const IGNORE: usize = 1;
        // TERM, CHLD, INT.
        for number in [15, 17, 2] {
            signal(number, IGNORE);
        }
        METHODS.map(|method| {
            let process = Builder::new().start_method(method).spawn(dispositions, ()).expect("a start");
            process.join().expect("a look")
        })
    };
    let field = |seen: &[String], name: &str| {
        let value = seen.iter().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(value.trim(), 16).unwrap()
    };
    // glibc's posix_spawn leaves the two signals that glibc keeps for itself, 32 and 33, ignored.
    let internal = 0b11 << 31;
    for seen in Process::spawn(inner, ()).unwrap().join().unwrap() {
        assert_eq!(field(&seen, "SigIgn:") & !internal, 1 << (13 - 1), "only SIGPIPE: {seen:?}");
        assert_eq!(field(&seen, "SigBlk:"), 0, "{seen:?}");
    }
}

/// SIGCHLD ignored means that the kernel reaps without telling: no hang, and no made-up cause.
#[test]
fn an_ignored_sigchld_costs_the_cause_of_death_at_most() {
    unsafe extern "C" {
        safe fn signal(number: i32, handler: usize) -> usize;
    }
    let inner = |()| {
        signal(17, 1);
        METHODS.map(|method| {
            let mut process = Builder::new().start_method(method).spawn(|x: u8| x + 1, 1).expect("a start");
            let result = process.join_timeout(Duration::from_secs(10)).expect("a result").expect("in time");
            (result, process.exit().expect("it has ended"))
        })
    };
    let [by_server, by_exec] = Process::spawn(inner, ()).unwrap().join().unwrap();
    use crewkit::process::Exit;
    assert_eq!(by_server, (2, Exit::Code(0)));
    assert!(matches!(by_exec, (2, Exit::Unknown | Exit::Code(0))), "{by_exec:?}");
}
