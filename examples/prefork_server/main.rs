//! A pre-fork HTTP/1.1 server: a few processes with a few threads each, behind one listening socket.
//!
//! ```sh
//! cargo run --release --example prefork_server -- --bind 127.0.0.1:8080 --root .
//! curl http://127.0.0.1:8080/                           # a short text
//! curl http://127.0.0.1:8080/files/README.md            # a file from --root
//! curl --data 'shout' http://127.0.0.1:8080/upper       # SHOUT
//! curl http://127.0.0.1:8080/status.json                # the workers; /status for people
//! kill -HUP  <master>                                   # new workers, no request lost
//! kill -TTIN <master>                                   # one worker more
//! kill -9    <worker>                                   # another one takes its place
//! kill -TERM <master>                                   # finish what was begun, and end
//! ```
//!
//! | File | What is in it |
//! |---|---|
//! | `main.rs` | the flags, the server, the routes |
//! | `http.rs` | heads of requests: what is accepted and what is refused |
//! | `body.rs` | bodies of requests, with a length or in chunks |
//! | `answer.rs` | answers |
//! | `files.rs` | which file a path names, and which paths name none |
//! | `status.rs` | the scoreboard as a page and as JSON |

mod answer;
mod body;
mod files;
mod http;
mod status;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use answer::{Answer, Refusal};
use clap::Parser;
use crewkit::prefork::{Conn, Fill, Master, Outcome, WorkerCx};
use files::Root;
use http::{Head, Parsed};

/// A pre-fork HTTP/1.1 server.
#[derive(Debug, Parser)]
struct Flags {
    /// Where to listen; port 0 lets the kernel choose.
    #[arg(long, default_value = "127.0.0.1:8080")]
    bind: String,
    /// How many processes serve [default: the processors this process may use]
    #[arg(long)]
    workers: Option<usize>,
    /// How many threads each of them has.
    #[arg(long, default_value_t = 4)]
    threads: usize,
    /// The directory that /files/ shows.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// The largest body of a request, in bytes.
    #[arg(long, default_value_t = 1 << 20)]
    max_body: u64,
    /// How long a client may take to send a request, and to take a piece of the answer.
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS", value_parser = seconds)]
    timeout: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(Duration::ZERO) => Err("a client needs some time".to_owned()),
        Ok(_) => Ok(seconds),
        Err(error) => Err(error.to_string()),
    }
}

/// What every request needs; made before the fork, and shared by all workers.
struct Site {
    root: Root,
    max_body: u64,
    timeout: Duration,
}

fn main() -> ExitCode {
    crewkit::init();
    let flags = Flags::parse();
    let timeout = Duration::from_secs_f64(flags.timeout);
    let root = match Root::new(&flags.root) {
        Ok(root) => root,
        Err(error) => return fail(&format!("--root {}: {error}", flags.root.display())),
    };
    let site = Site { root, max_body: flags.max_body, timeout };
    let mut server = Master::builder()
        .bind(&flags.bind)
        .threads(flags.threads)
        .io_timeout(timeout)
        .keep_alive(timeout.min(Duration::from_secs(15)))
        // A line that cannot be written, because nobody reads it any more, must not stop the server.
        .on_event(|event| drop(writeln!(std::io::stdout(), "{event}")))
        .service(move |conn, worker| site.serve(conn, worker));
    if let Some(workers) = flags.workers {
        server = server.workers(workers);
    }
    match server.run() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("prefork_server: {why}");
    ExitCode::FAILURE
}

impl Site {
    /// Serves one request, or says that it is not all there.
    fn serve(&self, conn: &mut Conn, worker: &WorkerCx) -> Outcome {
        // One deadline for the whole request: sending a byte now and then does not move it.
        let deadline = conn.began().checked_add(self.timeout);
        conn.set_deadline(deadline);
        loop {
            match http::parse(conn.buffer()) {
                Parsed::Head(head) => {
                    std::io::BufRead::consume(conn, head.len);
                    return self.answer(&head, conn, worker);
                }
                Parsed::Refused(refusal) => return answer::refuse(conn, refusal),
                Parsed::Partial if !conn.buffer().is_empty() && conn.is_overdue() => {
                    return answer::refuse(conn, Refusal::TimedOut);
                }
                Parsed::Partial => {}
            }
            match conn.fill() {
                Ok(Fill::Data(_)) => {}
                Ok(Fill::Pending) => return Outcome::More,
                // The client closed its side in the middle of a head.
                Ok(Fill::End) if !conn.buffer().is_empty() => return answer::refuse(conn, Refusal::Malformed),
                Ok(_) | Err(_) => return Outcome::Close,
            }
        }
    }

    fn answer(&self, head: &Head, conn: &mut Conn, worker: &WorkerCx) -> Outcome {
        let route = Route::of(&head.path);
        if !route.methods().contains(&head.method.as_str()) {
            return Answer::refusal(Refusal::Method(route.methods())).send(conn, head, false);
        }
        let body = match body::read(conn, head, self.max_body) {
            Ok(body) => body,
            Err(refusal) => return answer::refuse(conn, refusal),
        };
        // The request is here; what follows is limited by piece.
        conn.set_deadline(None);
        let answer = match route {
            Route::Home => Answer::text("crewkit: hello from a worker\n"),
            Route::Upper => Answer::bytes("application/octet-stream", body.to_ascii_uppercase()),
            Route::Status => Answer::bytes("text/html; charset=utf-8", status::page(&worker.scoreboard().snapshot())),
            Route::StatusJson => Answer::bytes("application/json", status::json(&worker.scoreboard().snapshot())),
            Route::File(path) => match self.root.open(path) {
                Some(file) => Answer::file(file),
                None => Answer::refusal(Refusal::NotFound),
            },
            Route::Nowhere => Answer::refusal(Refusal::NotFound),
        };
        answer.send(conn, head, head.keep_alive && !worker.is_draining())
    }
}

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Home,
    Upper,
    Status,
    StatusJson,
    /// The part after `/files/`, still encoded.
    File(&'a str),
    Nowhere,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Self {
        match path {
            "/" => Self::Home,
            "/upper" => Self::Upper,
            "/status" => Self::Status,
            "/status.json" => Self::StatusJson,
            _ => path.strip_prefix("/files/").map_or(Self::Nowhere, Self::File),
        }
    }

    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Upper => &["POST"],
            Self::Nowhere => &["GET", "HEAD", "POST"],
            _ => &["GET", "HEAD"],
        }
    }
}
