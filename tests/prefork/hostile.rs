//! The example `prefork_server`: HTTP/1.1 as it should not be. Whatever comes, it is answered as it deserves, and no
//! worker ends.

use std::io::Write;
use std::time::{Duration, Instant};

use super::client::{Broken, Client};
use super::http::example;
use super::server::{Server, allowed};

/// Sends each text on a connection of its own; expects the status, and then the end.
fn refused(server: &Server, status: u16, requests: &[&str]) {
    for request in requests {
        let mut client = Client::new(server.addr);
        client.send(request);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{request:?}");
        assert!(answer.closes(), "{request:?}: {}", answer.head);
        client.expect_end();
    }
}

/// The workers are those that there were, and serve.
fn unharmed(mut server: Server) {
    assert_eq!(Client::new(server.addr).get("/").status, 200);
    let status = Client::new(server.addr).get("/status.json").text();
    assert!(status.contains("\"panics\":0,\"deaths\":0,"), "{status}");
    server.listen();
    assert_eq!(server.heard_with("died") + server.heard_with("panicked"), 0, "{:#?}", server.heard);
}

#[test]
fn what_is_no_request_is_400() {
    let server = example(&[]);
    refused(
        &server,
        400,
        &[
            "GARBAGE\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nSpace : before\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nNul: \0\r\n\r\n",
            // A line that goes on in the next one.
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            // Lines that end without a carriage return, or with nothing else.
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
    unharmed(server);
}

#[test]
fn what_could_be_read_in_two_ways_is_400() {
    let server = example(&[]);
    let chunked = "POST /upper HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    refused(
        &server,
        400,
        &[
            &format!("{chunked}Content-Length: 5\r\n\r\n0\r\n\r\n"),
            "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &format!("{chunked}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            "POST /upper HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
            "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na",
            "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
            "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na",
            "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na",
            "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\na",
            "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\na",
        ],
    );
    for size in ["g", "-1", "+1", "0x1", "", " 1", "1 ", "1\t", "1\r", "1;a\rb", "10000000000000001", ";a"] {
        refused(&server, 400, &[&format!("{chunked}\r\n{size}\r\na\r\n0\r\n\r\n")]);
    }
    // A chunk that is longer than it says, a line feed for an end of line.
    refused(&server, 400, &[&format!("{chunked}\r\n1\r\nab\r\n0\r\n\r\n"), &format!("{chunked}\r\n1\na\r\n0\r\n\r\n")]);
    unharmed(server);
}

#[test]
fn codings_versions_and_expectations_that_are_not_spoken() {
    let server = example(&[]);
    refused(&server, 501, &["POST /upper HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"]);
    refused(&server, 505, &["GET / HTTP/2.0\r\nHost: a\r\n\r\n"]);
    refused(&server, 417, &["GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n"]);
    unharmed(server);
}

#[test]
fn a_method_that_is_not_allowed_is_405_and_says_which_are() {
    let server = example(&[]);
    for (method, path, allow) in [
        ("DELETE", "/", "GET, HEAD"),
        ("POST", "/status", "GET, HEAD"),
        ("PUT", "/files/Cargo.toml", "GET, HEAD"),
        ("GET", "/upper", "POST"),
        ("get", "/", "GET, HEAD"),
    ] {
        let mut client = Client::new(server.addr);
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("allow")), (405, Some(allow)), "{method} {path}");
        client.expect_end();
    }
    for path in ["/nothing", "/file", "/files", "//", "/status/"] {
        assert_eq!(Client::new(server.addr).get(path).status, 404, "{path}");
    }
    unharmed(server);
}

#[test]
fn bodies_and_heads_have_limits() {
    let server = example(&["--max-body", "1000"]);
    let head = "POST /upper HTTP/1.1\r\nHost: a\r\n";
    let mut client = Client::new(server.addr);
    client.send(format!("{head}Content-Length: 1000\r\n\r\n{}", "x".repeat(1000)));
    assert_eq!(client.answer().body.len(), 1000);
    refused(
        &server,
        413,
        &[
            &format!("{head}Content-Length: 1001\r\n\r\n"),
            &format!("{head}Content-Length: 99999999999999999999999999\r\n\r\n"),
            &format!("{head}Transfer-Encoding: chunked\r\n\r\n1f4\r\n{}\r\n1f5\r\n", "x".repeat(500)),
            &format!("{head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n"),
        ],
    );
    let fields: String = (0..100).map(|number| format!("X-{number}: x\r\n")).collect();
    refused(
        &server,
        431,
        &[
            &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(10_000)),
            &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(10_000)),
            &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(10_000)),
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"),
            &format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\nX: {}\r\n\r\n", "x".repeat(10_000)),
        ],
    );
    unharmed(server);
}

#[test]
fn an_answer_reaches_a_client_that_is_still_sending() {
    let server = example(&["--max-body", "1000"]);
    for _ in 0..5 {
        let mut client = Client::new(server.addr);
        client.send("POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
        // A close with this unread would reset the connection, and the answer with it where the network is slower.
        let mut sender = client.stream.try_clone().expect("a descriptor");
        let sending = std::thread::spawn(move || {
            let piece = vec![b'x'; 100_000];
            (0..20).try_for_each(|_| sender.write_all(&piece))
        });
        assert_eq!(client.answer().status, 413);
        sending.join().expect("a client").expect("a server that listens to the end");
        client.stream.shutdown(std::net::Shutdown::Write).expect("half a connection");
        client.expect_end();
    }
    unharmed(server);
}

#[test]
fn a_request_that_takes_too_long_is_408_while_others_are_served() {
    let server = example(&["--timeout", "1"]);
    // More of them than there are threads.
    let mut slow: Vec<Client> = (0..20).map(|_| Client::new(server.addr)).collect();
    let head = "GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ";
    let since = Instant::now();
    for client in &mut slow {
        client.send(head);
    }
    loop {
        for client in &mut slow {
            // On a machine that is busy enough its time may be up already.
            let _ = client.stream.write_all(b"x");
        }
        assert_eq!(Client::new(server.addr).get("/").status, 200);
        if since.elapsed() > Duration::from_millis(700) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for client in &mut slow {
        let answer = client.answer();
        assert_eq!(answer.status, 408);
        assert!(answer.closes());
        client.expect_end();
    }
    let took = since.elapsed();
    assert!(took >= Duration::from_secs(1) && took < allowed(1.0) + allowed(0.2), "{took:?}");
    // A body that does not come, too.
    let mut client = Client::new(server.addr);
    client.send("POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    assert_eq!(client.answer().status, 408);
    // Who says nothing at all is let go without a word.
    Client::new(server.addr).expect_end();
    unharmed(server);
}

#[test]
fn clients_that_vanish_harm_nobody() {
    let server = example(&[]);
    for text in [
        "",
        "GET / HT",
        "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        for reset in [false, true] {
            let mut client = Client::new(server.addr);
            client.send(text);
            if reset {
                let socket = socket2::SockRef::from(&client.stream);
                socket.set_linger(Some(Duration::ZERO)).expect("a socket option");
            }
        }
    }
    // One that asks for much and takes nothing, and goes.
    let mut client = Client::new(server.addr);
    client.send("GET /status HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500));
    drop(client);
    unharmed(server);
}

#[test]
fn a_refusal_ends_the_connection_and_what_follows_is_not_served() {
    let server = example(&[]);
    let mut client = Client::new(server.addr);
    client.send("POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\naGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    let rest = client.try_answer(true).expect_err("the smuggled request is not answered");
    assert_eq!(rest.0, Broken::Before);
    unharmed(server);
}
