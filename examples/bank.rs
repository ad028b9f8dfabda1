//! An account with many tellers: `Lock`, the dead-lock that one gets from it, and `RLock`, which has none.
//!
//! ```text
//! cargo run --example bank
//! ```
//!
//! A balance is read, changed and written back. Two tellers who do that at the same time lose one of their deposits,
//! so a lock is held from the reading to the writing. That works until one operation calls another: `pay_interest`
//! holds the lock and calls `deposit`, which takes it again. With a plain lock it waits for itself, for ever. A
//! re-entrant lock knows its owner, lets it in again, and is free after as many releases.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use crewkit::sync::{Lock, RLock};

/// How long somebody waits for the lock of a plain account, where otherwise it might be for ever.
const PATIENCE: Duration = Duration::from_millis(100);

/// The lock was not to be had in that time.
struct GaveUp;

/// An account under a plain lock. The guard gives `&mut`, so nothing else is needed to change the balance.
struct PlainAccount {
    cents: Lock<i64>,
}

impl PlainAccount {
    fn deposit(&self, cents: i64) -> Result<(), GaveUp> {
        let mut balance = self.cents.lock_timeout(PATIENCE).ok_or(GaveUp)?;
        *balance += cents;
        Ok(())
    }

    /// Wrong: `deposit` waits for the lock that this very function holds.
    fn pay_interest(&self, percent: i64) -> Result<(), GaveUp> {
        let balance = self.cents.lock_timeout(PATIENCE).ok_or(GaveUp)?;
        self.deposit(*balance * percent / 100)
    }
}

/// The same account under a re-entrant lock. A thread may hold several guards of it, so they give `&` only, and a
/// `Cell` inside is what changes.
struct Account {
    cents: RLock<Cell<i64>>,
}

impl Account {
    fn deposit(&self, cents: i64) {
        let balance = self.cents.lock();
        balance.set(balance.get() + cents);
    }

    /// Right: the lock is taken a second time by its owner. Nobody can come between the two, so the interest is that
    /// of the balance to which it is added.
    fn pay_interest(&self, percent: i64) -> usize {
        let balance = self.cents.lock();
        self.deposit(balance.get() * percent / 100);
        let _again = self.cents.lock();
        self.cents.depth()
    }
}

/// Four tellers at once, each with a thousand deposits of one cent.
fn open_the_counters(deposit: impl Fn() + Sync) {
    thread::scope(|tellers| {
        for _ in 0..4 {
            tellers.spawn(|| (0..1_000).for_each(|_| deposit()));
        }
    });
}

fn main() {
    println!("a plain Lock");
    let account = PlainAccount { cents: Lock::new(0) };
    // On a busy machine even this may take its time: somebody who gave up asks again.
    open_the_counters(|| while account.deposit(1).is_err() {});
    println!("  4 tellers, 1,000 deposits each: {} cents", *account.cents.lock());
    match account.pay_interest(10) {
        Ok(()) => println!("  interest was paid"),
        Err(GaveUp) => println!("  pay_interest holds the lock and calls deposit, which waits for it: a dead-lock"),
    }
    println!("  {} cents: without the time limit this line would never be reached", *account.cents.lock());

    println!("an RLock");
    let account = Account { cents: RLock::new(Cell::new(0)) };
    open_the_counters(|| account.deposit(1));
    println!("  4 tellers, 1,000 deposits each: {} cents", account.cents.lock().get());
    println!("  pay_interest took the lock again, {} times deep", account.pay_interest(10));
    println!("  it is free again: {}", !account.cents.is_locked());
    println!("  {} cents", account.cents.lock().get());

    // Its owner may take it again; anybody else waits as with a plain lock.
    let balance = account.cents.lock();
    let others = thread::scope(|scope| scope.spawn(|| account.cents.try_lock().is_some()).join());
    println!("  while one thread holds it, another gets it: {}", others.expect("it does not panic"));
    drop(balance);
}
