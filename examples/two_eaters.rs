//! One producer, two consumers, no thread: values go *into* generators by `send`.
//!
//! ```text
//! cargo run --example two_eaters
//! ```
//!
//! A generator that is only iterated over gives values. One that is sent values takes them: it waits in `yield_`, and
//! `send` hands it the next. So the producer calls whom it likes, in turn here, and each eater keeps its own count in
//! plain local variables between the dishes. `close` tells an eater that nothing more comes; what it returns then is its
//! bill. An eater may also stop by itself: `send` says so, and gives the next dish to the other one.

use std::error::Error;

use crewkit::coroutine::{Generator, Interrupt, Step, Yielder};

/// What an eater says after each dish, and what it is sent.
type Eater = Generator<String, Dish, Bill>;

#[derive(Clone, Copy)]
struct Dish {
    name: &'static str,
    price: u32,
}

#[derive(Debug)]
struct Bill {
    dishes: u32,
    sum: u32,
}

const MENU: [Dish; 7] = [
    Dish { name: "noodles", price: 7 },
    Dish { name: "dumplings", price: 6 },
    Dish { name: "soup", price: 4 },
    Dish { name: "rice", price: 2 },
    Dish { name: "fish", price: 11 },
    Dish { name: "cake", price: 5 },
    Dish { name: "tea", price: 1 },
];

/// Eats until nothing more comes, or until it is full.
fn eat(name: &str, appetite: u32, y: &Yielder<String, Dish>, first: Dish) -> Result<Bill, Interrupt> {
    let mut bill = Bill { dishes: 0, sum: 0 };
    let mut dish = first;
    loop {
        bill.dishes += 1;
        bill.sum += dish.price;
        if bill.dishes == appetite {
            return Ok(bill);
        }
        dish = match y.yield_(format!("{name} eats the {}", dish.name)) {
            Ok(next) => next,
            Err(Interrupt::Close) => return Ok(bill),
            Err(error) => return Err(error),
        };
    }
}

fn eater(name: &'static str, appetite: u32) -> Eater {
    Generator::new(move |y, first| eat(name, appetite, y, first))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut eaters = vec![("Ping", eater("Ping", 2)), ("Pong", eater("Pong", 10))];
    let mut turn = 0;
    for dish in MENU {
        turn = (turn + 1) % eaters.len();
        let (name, eater) = &eaters[turn];
        match eater.send(dish)? {
            Step::Yield(said) => println!("{said}"),
            Step::Return(bill) => {
                println!("{name} eats the {}, is full, and goes: {} dishes for {}", dish.name, bill.dishes, bill.sum);
                eaters.remove(turn);
            }
        }
    }
    for (name, eater) in eaters {
        if let Some(bill) = eater.close()? {
            println!("{name} pays {} dishes for {}", bill.dishes, bill.sum);
        }
    }
    Ok(())
}
