//! The example `prefork_server`: HTTP/1.1 as it should be.

use std::net::Shutdown;
use std::process::Command;

use super::client::Client;
use super::server::{Server, program};

pub(crate) fn example(arguments: &[&str]) -> Server {
    let mut command = Command::new(program("prefork_server"));
    command.args(["--bind", "127.0.0.1:0", "--workers", "2", "--threads", "2"]).args(arguments);
    Server::start(&mut command, 2)
}

#[test]
fn get_and_head_keep_the_connection() {
    let server = example(&[]);
    let mut client = Client::new(server.addr);
    let got = client.get("/");
    assert_eq!((got.status, got.text().as_str()), (200, "crewkit: hello from a worker\n"));
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.answer_without_body();
    assert_eq!(head.field("content-length"), got.field("content-length"));
    assert_eq!(head.field("content-type"), Some("text/plain; charset=utf-8"));
    assert!(head.field("date").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(client.get("/?query").status, 200);
    assert_eq!(client.get("http://proxy.example/").status, 200);
}

#[test]
fn close_and_http_1_0_close_and_1_0_may_keep() {
    let server = example(&[]);
    for request in ["GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"] {
        let mut client = Client::new(server.addr);
        client.send(request);
        assert!(client.answer().closes());
        client.expect_end();
    }
    let mut client = Client::new(server.addr);
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.answer().field("connection"), Some("keep-alive"));
    }
}

#[test]
fn bodies_come_with_a_length_or_in_chunks() {
    let server = example(&[]);
    let mut client = Client::new(server.addr);
    client.send("POST /upper HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.answer().text(), "HELLO");
    client.send("POST /upper HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().text(), "");
    client.send("POST /upper HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.answer().text(), "");
    let chunks = "4\r\nwiki\r\n5;name=value\r\npedia\r\n00e\r\n in \r\n\r\nchunks\r\n0\r\nTrailer: x\r\n\r\n";
    let request = format!("POST /upper HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: Chunked\r\n\r\n{chunks}");
    client.send(&request);
    assert_eq!(client.answer().text(), "WIKIPEDIA IN \r\n\r\nCHUNKS");
    // However it is cut into pieces.
    for cut in (1..request.len()).step_by(7) {
        client.send(&request[..cut]);
        std::thread::yield_now();
        client.send(&request[cut..]);
        assert_eq!(client.answer().text(), "WIKIPEDIA IN \r\n\r\nCHUNKS", "cut at {cut}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = example(&[]);
    let mut client = Client::new(server.addr);
    client.send(
        "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na\
         GET / HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /upper HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n\
         HEAD / HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(client.answer().text(), "A");
    assert!(client.answer().text().contains("hello"));
    assert_eq!(client.answer().text(), "B");
    assert_eq!(client.answer_without_body().status, 200);
    assert_eq!(client.answer().status, 404);
    client.expect_end();
}

#[test]
fn who_expects_a_word_before_the_body_gets_it() {
    let server = example(&[]);
    let mut client = Client::new(server.addr);
    let head = "POST /upper HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(head);
    assert_eq!(client.answer_without_body().status, 100);
    client.send("hello");
    assert_eq!(client.answer().text(), "HELLO");
    // Who did not wait needs none.
    client.send(format!("{head}again"));
    let mut answer = client.answer_without_body();
    if answer.status == 100 {
        // The body came in a packet of its own.
        answer = client.answer_without_body();
    }
    assert_eq!(answer.status, 200);
    // Who may not send the body is told so instead.
    let mut client = Client::new(server.addr);
    client.send("POST /upper HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n");
    assert_eq!(client.answer().status, 413);
}

#[test]
fn a_client_that_has_said_everything_is_answered() {
    let server = example(&[]);
    let mut client = Client::new(server.addr);
    client.send("POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    client.stream.shutdown(Shutdown::Write).expect("half a connection");
    assert_eq!(client.answer().text(), "HELLO");
    client.expect_end();
    // And one that left in the middle is told that it was no request.
    for half in ["GET / HT", "POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel"] {
        let mut client = Client::new(server.addr);
        client.send(half);
        client.stream.shutdown(Shutdown::Write).expect("half a connection");
        assert_eq!(client.answer().status, 400, "{half}");
        client.expect_end();
    }
}

#[test]
fn status_shows_the_workers() {
    let server = example(&[]);
    let mut client = Client::new(server.addr);
    let pids = server.wait_for_children(2);
    let page = client.get("/status");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let json = client.get("/status.json");
    assert_eq!(json.field("content-type"), Some("application/json"));
    for pid in pids {
        assert!(page.text().contains(&format!("<td>{pid}</td>")), "{}", page.text());
        assert!(json.text().contains(&format!("\"pid\":{pid},")), "{}", json.text());
    }
    assert!(json.text().contains(&format!("{{\"master\":{},", server.master())));
    assert!(json.text().contains("\"state\":\"serving\""));
    assert!(json.text().contains("\"deaths\":0,\"reloads\":0}"));
}
