//! The example `prefork_server`: files, and paths that lead out of their directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::client::Client;
use super::http::example;

/// A directory with a site in it and a secret beside it.
struct Site(PathBuf);

impl Site {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("crewkit-prefork-{test}-{}", std::process::id()));
        let root = dir.join("root");
        fs::create_dir_all(root.join("sub")).expect("a temporary directory");
        fs::write(dir.join("secret.txt"), "secret").expect("a file");
        fs::write(root.join("page.html"), "<p>page").expect("a file");
        fs::write(root.join("sub/a b.txt"), "spaces").expect("a file");
        Self(dir)
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn root(path: &Path) -> [&str; 2] {
    ["--root", path.to_str().expect("a path in UTF-8")]
}

#[test]
fn files_have_a_length_and_a_type() {
    let site = Site::new("files");
    let server = example(&root(&site.root()));
    let mut client = Client::new(server.addr);
    let page = client.get("/files/page.html");
    assert_eq!((page.status, page.text().as_str()), (200, "<p>page"));
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(client.get("/files/sub/a%20b.txt").text(), "spaces");
    assert_eq!(client.get("/files/./sub//a%20b.txt?x=%2e%2e").text(), "spaces");
    client.send("HEAD /files/page.html HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.answer_without_body();
    assert_eq!((head.status, head.field("content-length")), (200, Some("7")));
    for path in ["/files/", "/files/sub", "/files/sub/", "/files/missing", "/files/page.html/"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}

#[test]
fn paths_out_of_the_root_are_404() {
    let site = Site::new("out");
    let root_dir = site.root();
    symlink("../secret.txt", root_dir.join("link")).expect("a link");
    symlink("..", root_dir.join("up")).expect("a link");
    symlink("/etc", root_dir.join("etc")).expect("a link");
    symlink("loop", root_dir.join("loop")).expect("a link");
    symlink("page.html", root_dir.join("inside")).expect("a link");
    // A directory whose name begins like the root's.
    fs::create_dir(site.0.join("root-too")).expect("a directory");
    fs::write(site.0.join("root-too/secret.txt"), "secret").expect("a file");
    symlink("../root-too", root_dir.join("too")).expect("a link");
    let fifo = std::process::Command::new("mkfifo").arg(root_dir.join("fifo")).status().expect("mkfifo");
    assert!(fifo.success());
    let server = example(&root(&root_dir));
    let mut client = Client::new(server.addr);
    for path in [
        "/files/../secret.txt",
        "/files/sub/../../secret.txt",
        "/files/%2e%2e/secret.txt",
        "/files/.%2E/secret.txt",
        "/files/..%2fsecret.txt",
        "/files/%2e%2e%2fsecret.txt",
        "/files/%252e%252e/secret.txt",
        "/files/..%5csecret.txt",
        "/files/..\\secret.txt",
        "/files//etc/passwd",
        "/files/%2fetc%2fpasswd",
        "/files/page.html%00",
        "/files/page.html%00.txt",
        "/files/%",
        "/files/%4",
        "/files/link",
        "/files/up/secret.txt",
        "/files/etc/passwd",
        "/files/too/secret.txt",
        "/files/loop",
        "/files/fifo",
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    assert_eq!(client.get("/files/inside").status, 200, "a link inside is followed");
}

#[test]
fn a_large_file_is_streamed() {
    const LEN: u64 = 300 << 20;
    let site = Site::new("large");
    let large = fs::File::create(site.root().join("large.bin")).expect("a file");
    large.set_len(LEN).expect("a sparse file");
    let server = example(&root(&site.root()));
    let mut client = Client::new(server.addr);
    client.send("GET /files/large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.answer_without_body();
    assert_eq!(head.field("content-length"), Some(LEN.to_string().as_str()));
    assert_eq!(head.field("content-type"), Some("application/octet-stream"));
    client.skip(LEN);
    assert_eq!(client.get("/").status, 200, "the connection goes on behind it");
    for pid in server.wait_for_children(2) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(kibibytes < 100 << 10, "worker {pid} took {kibibytes} KiB");
    }
}
