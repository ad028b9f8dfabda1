//! A tokenizer and a parser, each written as if it had the machine for itself.
//!
//! ```text
//! cargo run --example calculator -- FILE
//! ```
//!
//! FILE has lines like `area = (2 + 3) * height`. The tokenizer reads it and yields tokens; the parser pulls tokens,
//! recursively as the grammar is, and yields each variable as soon as its line is complete. Neither has a state machine,
//! and neither reads ahead: the file is read line by line as the results are printed. An error in the middle of an
//! expression, or of the disk, ends both with `?`, and comes out in `main`.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::iter::Peekable;
use std::process::ExitCode;

use crewkit::coroutine::{Generator, Interrupt, Yielder};

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Sign(char),
    End,
}

/// A token and its line; or why there is none.
type Item = Result<(Token, usize), String>;

/// Cuts a file into tokens.
fn tokenize(mut file: impl BufRead, y: &Yielder<Item>) -> Result<(), Interrupt> {
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        if file.read_line(&mut line)? == 0 {
            break;
        }
        let text = line.split('#').next().unwrap_or_default();
        let mut rest = text.trim_start();
        if rest.is_empty() {
            continue;
        }
        while let Some(first) = rest.chars().next() {
            let is_word = |char: char| char.is_alphanumeric() || char == '.' || char == '_';
            let length = match rest.find(|char| !is_word(char)).unwrap_or(rest.len()) {
                0 => first.len_utf8(),
                length => length,
            };
            let (word, after) = rest.split_at(length);
            let token = match first {
                '0'..='9' => word.parse().map(Token::Number).map_err(|error| format!("line {number}: {word}: {error}")),
                _ if is_word(first) => Ok(Token::Name(word.to_owned())),
                sign => Ok(Token::Sign(sign)),
            };
            y.yield_(token.map(|token| (token, number)))?;
            rest = after.trim_start();
        }
        y.yield_(Ok((Token::End, number)))?;
    }
    Ok(())
}

/// What the parser keeps: tokens with one of look-ahead, and the variables.
struct Parser<I: Iterator<Item = Item>> {
    tokens: Peekable<I>,
    variables: HashMap<String, f64>,
}

impl<I: Iterator<Item = Item>> Parser<I> {
    fn next(&mut self) -> Result<(Token, usize), String> {
        self.tokens.next().unwrap_or_else(|| Err("the file ends in the middle".to_owned()))
    }

    fn take(&mut self, signs: &[char]) -> Option<char> {
        let is_one = |item: &Item| matches!(item, Ok((Token::Sign(sign), _)) if signs.contains(sign));
        match self.tokens.next_if(is_one) {
            Some(Ok((Token::Sign(sign), _))) => Some(sign),
            _ => None,
        }
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut value = self.product()?;
        while let Some(sign) = self.take(&['+', '-']) {
            let next = self.product()?;
            value += if sign == '+' { next } else { -next };
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut value = self.factor()?;
        while let Some(sign) = self.take(&['*', '/']) {
            let next = self.factor()?;
            value = if sign == '*' { value * next } else { value / next };
        }
        Ok(value)
    }

    fn factor(&mut self) -> Result<f64, String> {
        match self.next()? {
            (Token::Number(value), _) => Ok(value),
            (Token::Name(name), line) => {
                self.variables.get(&name).copied().ok_or_else(|| format!("line {line}: {name} is not known"))
            }
            (Token::Sign('('), line) => {
                let value = self.sum()?;
                self.take(&[')']).map(|_| value).ok_or_else(|| format!("line {line}: ( is not closed"))
            }
            (Token::Sign('-'), _) => Ok(-self.factor()?),
            (token, line) => Err(format!("line {line}: {token} where a value should be")),
        }
    }

    /// `name = sum`, and the end of the line.
    fn line(&mut self) -> Result<(String, f64), String> {
        let (Token::Name(name), line) = self.next()? else { return Err("a line begins with a name".to_owned()) };
        self.take(&['=']).ok_or_else(|| format!("line {line}: = is missing after {name}"))?;
        let value = self.sum()?;
        match self.next()? {
            (Token::End, _) => Ok((name, value)),
            (token, line) => Err(format!("line {line}: {token} after the end of an expression")),
        }
    }
}

/// Yields each variable when its line is complete.
fn parse(tokens: impl Iterator<Item = Item>, y: &Yielder<(String, f64)>) -> Result<(), Interrupt> {
    let mut parser = Parser { tokens: tokens.peekable(), variables: HashMap::new() };
    while parser.tokens.peek().is_some() {
        let (name, value) = parser.line().map_err(Complaint)?;
        parser.variables.insert(name.clone(), value);
        y.yield_((name, value))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("calculator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("usage: calculator FILE")?;
    let file = BufReader::new(File::open(path)?);
    let tokens = Generator::new(move |y, ()| tokenize(file, y));
    let results = Generator::new(move |y, ()| parse(tokens, y));
    for result in results.results(()) {
        // `?` unpacks what was thrown in the coroutines.
        let (name, value) = result.map_err(Interrupt::from)?;
        println!("{name} = {value}");
    }
    Ok(())
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{value}"),
            Self::Name(name) => f.write_str(name),
            Self::Sign(sign) => write!(f, "{sign}"),
            Self::End => f.write_str("the end of the line"),
        }
    }
}

/// What is wrong with the file.
#[derive(Debug)]
struct Complaint(String);

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Complaint {}
