//! The head of a request: what is accepted, and what is refused. httparse takes it apart; what two programs in a row
//! could read in two ways, so that one sees a request where the other sees a body, is refused here (RFC 9112 §6).

use crate::answer::Refusal;

/// The longest head, in bytes.
pub(crate) const LONGEST_HEAD: usize = 8 * 1024;

/// The most header fields.
const MOST_FIELDS: usize = 64;

/// A head that was accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// As sent; methods are case-sensitive.
    pub(crate) method: String,
    /// The path, still percent-encoded and without the query.
    pub(crate) path: String,
    /// Whether the client speaks HTTP/1.1 (and not 1.0).
    pub is_1_1: bool,
    /// Whether the client wants to keep the connection.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for a word before it sends the body.
    pub(crate) expects_continue: bool,
    /// How the body is framed.
    pub(crate) framing: Framing,
    /// How many bytes the head has.
    pub(crate) len: usize,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// It has so many bytes.
    Length(u64),
    /// It comes in chunks.
    Chunked,
}

/// What became of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A head, complete.
    Head(Head),
    /// The beginning of one.
    Partial,
    /// No head.
    Refused(Refusal),
}

/// Looks for a head at the beginning of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes);
    let head = match parsed {
        Ok(httparse::Status::Complete(len)) => &bytes[..len],
        _ => bytes,
    };
    match parsed {
        Ok(httparse::Status::Partial) if bytes.len() >= LONGEST_HEAD => Parsed::Refused(Refusal::HeadTooLarge),
        // httparse takes a bare line feed for the end of a line; not every program in front of this one does.
        Ok(_) if has_bare_line_feed(head) => Parsed::Refused(Refusal::Malformed),
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Ok(httparse::Status::Complete(len)) if len > LONGEST_HEAD => Parsed::Refused(Refusal::HeadTooLarge),
        Ok(httparse::Status::Complete(len)) => accept(&request, len).map_or_else(Parsed::Refused, Parsed::Head),
        Err(httparse::Error::TooManyHeaders) => Parsed::Refused(Refusal::HeadTooLarge),
        Err(httparse::Error::Version) => Parsed::Refused(Refusal::Version),
        Err(_) => Parsed::Refused(Refusal::Malformed),
    }
}

/// Whether a line of the head ends without a carriage return. The head may begin with empty lines, which httparse skips.
fn has_bare_line_feed(head: &[u8]) -> bool {
    head.iter().enumerate().any(|(at, &byte)| byte == b'\n' && (at == 0 || head[at - 1] != b'\r'))
}

fn accept(request: &httparse::Request<'_, '_>, len: usize) -> Result<Head, Refusal> {
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Refusal::Malformed);
    };
    let is_1_1 = version == 1;
    let mut hosts = 0;
    let mut length = None;
    let mut chunked = false;
    let mut expects_continue = false;
    let (mut close, mut keep) = (false, false);
    for field in request.headers.iter() {
        let value = std::str::from_utf8(field.value).unwrap_or("\u{fffd}").trim_matches([' ', '\t']);
        match field.name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => {
                if length.is_some() || value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Refusal::Malformed);
                }
                length = Some(value.parse().map_err(|_| Refusal::BodyTooLarge)?);
            }
            "transfer-encoding" => {
                if chunked || !is_1_1 {
                    return Err(Refusal::Malformed);
                }
                if !value.eq_ignore_ascii_case("chunked") {
                    return Err(Refusal::Coding);
                }
                chunked = true;
            }
            "connection" => {
                for token in value.split(',').map(str::trim) {
                    close |= token.eq_ignore_ascii_case("close");
                    keep |= token.eq_ignore_ascii_case("keep-alive");
                }
            }
            "expect" => {
                if !value.eq_ignore_ascii_case("100-continue") {
                    return Err(Refusal::Expectation);
                }
                expects_continue = is_1_1;
            }
            _ => {}
        }
    }
    if hosts > 1 || (is_1_1 && hosts == 0) {
        return Err(Refusal::Malformed);
    }
    let framing = match (length, chunked) {
        (Some(_), true) => return Err(Refusal::Malformed),
        (None, true) => Framing::Chunked,
        (None | Some(0), false) => Framing::None,
        (Some(length), false) => Framing::Length(length),
    };
    Ok(Head {
        method: method.to_owned(),
        path: path(target)?,
        is_1_1,
        keep_alive: !close && (is_1_1 || keep),
        expects_continue,
        framing,
        len,
    })
}

/// The path in a target of the form `/path?query` or, as proxies are sent it, `http://host/path?query`.
fn path(target: &str) -> Result<String, Refusal> {
    let origin = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => match rest.find(['/', '?', '#']) {
            Some(at) if rest[at..].starts_with('/') => &rest[at..],
            _ => "/",
        },
        _ => target,
    };
    if !origin.starts_with('/') {
        return Err(Refusal::Malformed);
    }
    let end = origin.find(['?', '#']).unwrap_or(origin.len());
    Ok(origin[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        match parse(text.as_bytes()) {
            Parsed::Head(head) => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused_also_behind_empty_lines() {
        for before in ["", "\r\n", "\r\n\r\n", "\r\n\r\n\r\n"] {
            let request = |line_end: &str| {
                format!("{before}POST / HTTP/1.1\r\nHost: a\r\nX: y{line_end}Transfer-Encoding: chunked\r\n\r\n0\r\n\n")
            };
            assert!(matches!(parse(request("\r\n").as_bytes()), Parsed::Head(_)), "{before:?}");
            let refused = parse(request("\n").as_bytes());
            assert!(matches!(refused, Parsed::Refused(Refusal::Malformed)), "{before:?}: {refused:?}");
        }
    }

    #[test]
    fn a_slash_in_the_query_of_a_full_address_begins_no_path() {
        for (target, path) in [("http://a?x=/secret", "/"), ("http://a", "/"), ("http://a/b?c=/d", "/b")] {
            assert_eq!(head(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).path, path, "{target}");
        }
    }

    #[test]
    fn persistence_follows_version_and_connection() {
        for (line, fields, keep_alive) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: Upgrade, CLOSE\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: keep-alive\r\n", true),
        ] {
            assert_eq!(
                head(&format!("GET / HTTP/{line}\r\nHost: a\r\n{fields}\r\n")).keep_alive,
                keep_alive,
                "{fields}"
            );
        }
    }

    #[test]
    fn a_head_is_partial_until_its_empty_line() {
        let whole = "POST /upper?x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..end]), Parsed::Partial, "{end}");
        }
        let head = head(&format!("{whole}abc"));
        assert_eq!((head.path.as_str(), head.framing, head.len), ("/upper", Framing::Length(3), whole.len()));
    }

    #[test]
    fn targets() {
        assert_eq!(head("GET http://a:1/b?c HTTP/1.1\r\nHost: a\r\n\r\n").path, "/b");
        assert_eq!(head("GET HTTP://a HTTP/1.1\r\nHost: a\r\n\r\n").path, "/");
        for target in ["*", "a:80", "ftp://a/b", "b"] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(parse(text.as_bytes()), Parsed::Refused(Refusal::Malformed), "{target}");
        }
    }
}
