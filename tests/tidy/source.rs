//! A Rust file as the rules see it: its text, its tokens without comments and literals, its module path.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the tree.
pub(crate) struct Source {
    /// Relative to the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
}

/// A word or a punctuation character of the code; `::` is one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), tokens: tokens(text) }
    }

    /// The module that the file is: `src/pool/worker.rs` is `pool::worker`, `src/pool/mod.rs` is `pool`. `None` outside
    /// of `src/`, and for the crate's root.
    pub(crate) fn module(&self) -> Option<Vec<&str>> {
        let path = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let path = path.strip_suffix("/mod").unwrap_or(path);
        (path != "lib").then(|| path.split('/').collect())
    }

    /// The lines on which `words` stand one after the other.
    pub(crate) fn lines_with<'a>(&'a self, words: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        self.tokens.windows(words.len()).filter(move |w| w.iter().map(|t| &t.text).eq(words)).map(|w| w[0].line)
    }
}

/// Every file of the tree with this extension, sorted; `target` and what begins with a dot is left out.
pub(crate) fn files(root: &Path, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root.join(&folder)).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            let path = folder.join(&name);
            if name == "target" || name.starts_with('.') {
                continue;
            }
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let text = fs::read_to_string(entry.path()).expect("a file in UTF-8");
                found.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// Splits code into tokens; comments, strings, characters and lifetimes are dropped.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut found, mut line, mut i) = (Vec::new(), 1, 0);
    while i < chars.len() {
        let start = i;
        i = match at(i) {
            '/' if at(i + 1) == '/' => find(&chars, i, |i| at(i) == '\n'),
            '/' if at(i + 1) == '*' => block_comment(&chars, i),
            '"' => string(&chars, i),
            '\'' if at(i + 1) != '\\' && at(i + 2) != '\'' => find(&chars, i + 1, |i| !is_word(at(i))),
            '\'' if at(i + 1) == '\\' => find(&chars, i + 3, |i| at(i) == '\'') + 1,
            '\'' => i + 3,
            c if is_word(c) => find(&chars, i, |i| !is_word(at(i))),
            ':' if at(i + 1) == ':' => i + 2,
            _ => i + 1,
        }
        .min(chars.len());
        let word: String = chars[start..i].iter().collect();
        if at(i) == '"' && matches!(word.as_str(), "b" | "c") {
            // The prefix belongs to the string that follows.
        } else if matches!(word.as_str(), "r" | "br" | "cr") && matches!(at(i), '"' | '#') {
            i = raw_string(&chars, i).unwrap_or(i);
        } else if is_word(at(start)) || !matches!(at(start), '"' | '\'' | '/') && !word.trim().is_empty() {
            found.push(Token { text: word, line });
        }
        line += chars[start..i].iter().filter(|&&c| c == '\n').count();
    }
    found
}

fn find(chars: &[char], from: usize, end: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|&i| end(i)).unwrap_or(chars.len())
}

/// The end of a block comment; they nest.
fn block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    chars.len()
}

fn string(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The end of a raw string whose hashes or quote begin at `start`; `None` for a raw identifier.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let quote = find(chars, start, |i| chars[i] != '#');
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', quote - start)).collect();
    let end = find(chars, quote + 1, |i| chars[i..].starts_with(&closing));
    Some((end + closing.len()).min(chars.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = r####"a /* b /* c */ d */ e // f
            "g \" h" i 'j' '\'' '\u{1}' b'k' b"l" r"m" r#"n " o"# br##"p"# q"## <'r> s: &'static t"####;
        assert_eq!(words(text).join(" "), "a e i b < > s : & t");
    }

    #[test]
    fn paths_and_raw_identifiers_are_code() {
        assert_eq!(words("crate::a::r#type{b,c}"), ["crate", "::", "a", "::", "#", "type", "{", "b", ",", "c", "}"]);
    }

    #[test]
    fn lines_are_counted_through_comments_and_strings() {
        let found = tokens("a\n/*\n*/ b \"\n\\\n\" c r\"\n\" d");
        let lines: Vec<_> = found.iter().map(|token| (token.text.as_str(), token.line)).collect();
        assert_eq!(lines, [("a", 1), ("b", 3), ("c", 5), ("d", 6)]);
    }

    #[test]
    fn a_file_is_a_module() {
        let module = |path| Source::new(path, "").module().map(|path| path.join("::"));
        assert_eq!(module("src/pool/mod.rs").as_deref(), Some("pool"));
        assert_eq!(module("src/pool/worker.rs").as_deref(), Some("pool::worker"));
        assert_eq!(module("src/pool.rs").as_deref(), Some("pool"));
        assert_eq!(module("src/lib.rs"), None);
        assert_eq!(module("tests/pool.rs"), None);
    }
}
