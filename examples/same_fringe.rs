//! Do two trees have the same leaves? A walk by recursion that gives one leaf at a time.
//!
//! ```text
//! cargo run --example same_fringe
//! ```
//!
//! A recursive function that collects leaves is three lines. One that can *stop* at each leaf, so that two walks can be
//! compared step by step, usually loses the recursion: it becomes an iterator with a stack of its own making. Here it stays
//! as it is: `walk` calls itself with the same yielder, and each leaf goes out by one switch from any depth. Where the
//! trees differ early, the rest of them is never looked at.

use std::cell::Cell;
use std::rc::Rc;

use crewkit::coroutine::{Generator, Interrupt, Yielder};

enum Tree {
    Leaf(u32),
    Node(Rc<Tree>, Rc<Tree>),
}

/// The leaves from left to right.
fn walk(tree: &Tree, visited: &Cell<u32>, y: &Yielder<u32>) -> Result<(), Interrupt> {
    visited.set(visited.get() + 1);
    match tree {
        Tree::Leaf(value) => y.yield_(*value),
        Tree::Node(left, right) => {
            walk(left, visited, y)?;
            walk(right, visited, y)
        }
    }
}

/// Its leaves one by one, and how many nodes and leaves were visited for them.
fn leaves(tree: &Rc<Tree>) -> (Generator<u32>, Rc<Cell<u32>>) {
    let tree = Rc::clone(tree);
    let visited = Rc::new(Cell::new(0));
    let count = Rc::clone(&visited);
    (Generator::new(move |y, ()| walk(&tree, &count, y)), visited)
}

/// A tree with these leaves that leans to one side, as deep as it has leaves.
fn leaning(leaves: &[u32]) -> Rc<Tree> {
    let mut leaves = leaves.iter().rev().map(|&value| Rc::new(Tree::Leaf(value)));
    let last = leaves.next().unwrap_or_else(|| Rc::new(Tree::Leaf(0)));
    leaves.fold(last, |right, left| Rc::new(Tree::Node(left, right)))
}

/// One with the same leaves that is as flat as it can be.
fn balanced(leaves: &[u32]) -> Rc<Tree> {
    match leaves {
        [] => Rc::new(Tree::Leaf(0)),
        [value] => Rc::new(Tree::Leaf(*value)),
        _ => {
            let (left, right) = leaves.split_at(leaves.len() / 2);
            Rc::new(Tree::Node(balanced(left), balanced(right)))
        }
    }
}

fn compare(what: &str, one: &Rc<Tree>, other: &Rc<Tree>) {
    let (ours, visited) = leaves(one);
    let (theirs, _) = leaves(other);
    let (mut ours, mut theirs) = (ours.fuse(), theirs.fuse());
    let mut equal = 0;
    let verdict = loop {
        match (ours.next(), theirs.next()) {
            (None, None) => break "the same",
            (a, b) if a == b => equal += 1,
            _ => break "different",
        }
    };
    println!("{what}: {verdict} after {equal} leaves, {} visited", visited.get());
}

fn main() {
    let numbers: Vec<u32> = (1..=100).collect();
    let mut other = numbers.clone();
    other[9] = 0;
    compare("two shapes of the same leaves", &leaning(&numbers), &balanced(&numbers));
    compare("another leaf in the tenth place", &leaning(&numbers), &balanced(&other));
    compare("one leaf less", &leaning(&numbers), &balanced(&numbers[..99]));
}
