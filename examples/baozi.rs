//! The steamed-bun shop: cooks make baozi and put them into a steamer, eaters take them out. The classic of threads and a
//! queue, with its end done properly: everybody goes home, and every baozi was eaten once.
//!
//! ```text
//! cargo run --example baozi -- [COOKS] [EATERS] [EACH] [STEAMER]
//! ```
//!
//! The steamer is a bounded [`Queue`]: cooks wait while it is full, eaters while it is empty. An eater says `task_done`
//! when it has swallowed, not when it has taken, so the shop's `join` returns when everything that was made has been
//! eaten. Then the queue is shut down, which ends the eaters' loops.

use std::env;
use std::error::Error;
use std::sync::Arc;

use crewkit::queue::{Queue, Shutdown};
use crewkit::thread::Builder;

/// What there is, each cook in turn.
const FILLINGS: [&str; 3] = ["pork", "leek", "red bean"];

/// One steamed bun.
struct Baozi {
    cook: usize,
    number: usize,
    filling: &'static str,
}

/// Makes `each` baozi and puts them into the steamer; how many that were.
fn cook(steamer: &Queue<Baozi>, cook: usize, each: usize) -> usize {
    // Fails only if the shop closes meanwhile, and the baozi would come back in the error.
    (0..each)
        .take_while(|&number| steamer.put(Baozi { cook, number, filling: FILLINGS[number % FILLINGS.len()] }).is_ok())
        .count()
}

/// Eats until the shop closes; what was eaten.
fn eat(steamer: &Queue<Baozi>) -> Result<Vec<Baozi>, Box<dyn Error + Send + Sync>> {
    let mut stomach = Vec::new();
    for baozi in steamer.iter() {
        stomach.push(baozi);
        steamer.task_done()?;
    }
    Ok(stomach)
}

fn main() -> Result<(), Box<dyn Error>> {
    let numbers = env::args().skip(1).map(|argument| argument.parse()).collect::<Result<Vec<usize>, _>>()?;
    let number = |at: usize, otherwise| numbers.get(at).copied().unwrap_or(otherwise);
    let (cooks, eaters, each, room) = (number(0, 3), number(1, 2), number(2, 100), number(3, 10));
    if eaters == 0 && cooks * each > 0 {
        return Err("nobody is there to eat".into());
    }

    let steamer = Arc::new(Queue::bounded(room));
    let start = |name: String| Builder::new().name(name);
    let mut kitchen = Vec::new();
    for number in 0..cooks {
        let steamer = Arc::clone(&steamer);
        kitchen.push(start(format!("cook-{number}")).spawn(move || cook(&steamer, number, each))?);
    }
    let mut tables = Vec::new();
    for number in 0..eaters {
        let steamer = Arc::clone(&steamer);
        tables.push(start(format!("eater-{number}")).spawn(move || eat(&steamer))?);
    }

    let mut made = 0;
    for cook in kitchen {
        made += cook.join()?;
    }
    steamer.join(); // everything is eaten, not only taken out
    steamer.shutdown(Shutdown::Drain);

    let mut eaten = Vec::new();
    for table in tables {
        let stomach = table.join()?.map_err(|error| error.to_string())?;
        // The queue is first in, first out: of one cook, everybody got theirs in the order in which they were made.
        for cook in 0..cooks {
            assert!(stomach.iter().filter(|baozi| baozi.cook == cook).is_sorted_by_key(|baozi| baozi.number));
        }
        eaten.extend(stomach);
    }
    eaten.sort_unstable_by_key(|baozi| (baozi.cook, baozi.number));
    let whole =
        eaten.iter().map(|baozi| (baozi.cook, baozi.number)).eq((0..cooks * each).map(|n| (n / each, n % each)));

    println!("{made} baozi made by {cooks} cooks, {} eaten by {eaters} eaters", eaten.len());
    for filling in FILLINGS {
        println!("{:>5} {filling}", eaten.iter().filter(|baozi| baozi.filling == filling).count());
    }
    println!("every baozi was eaten {}", if whole { "once" } else { "WRONGLY" });
    println!("the steamer is {}", if steamer.is_empty() { "empty" } else { "NOT empty" });
    Ok(())
}
