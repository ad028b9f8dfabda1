//! Cars at a traffic light: an `Event` is green while it is set.
//!
//! ```text
//! cargo run --example traffic_light
//! ```
//!
//! Three things to see: one `set` lets everybody go who waits; who comes while it is set does not wait at all; and after
//! `clear` the next ones wait again. A `Lock` could not do that: it lets one go, and is taken by it.
//!
//! The cars are threads and drive when they like. What is printed is nevertheless the same in every run, because the
//! light changes only after the cars have told that they are there, through a queue, and never after "some time".

use std::thread;
use std::time::Duration;

use crewkit::queue::Queue;
use crewkit::sync::Event;

/// How long the taxi waits at a red light.
const PATIENCE: Duration = Duration::from_millis(50);

struct Crossing {
    green: Event,
    arrived: Queue<&'static str>,
    crossed: Queue<&'static str>,
}

impl Crossing {
    /// What every car does: it arrives, waits for green, and crosses.
    fn drive(&self, car: &'static str) {
        tell(&self.arrived, car);
        self.green.wait();
        tell(&self.crossed, car);
    }

    /// What an impatient one does: it waits for so long only.
    fn drive_in_a_hurry(&self, car: &'static str) {
        tell(&self.arrived, car);
        if self.green.wait_timeout(PATIENCE) {
            tell(&self.crossed, car);
        } else {
            println!("  {car} waits for {} ms and turns round", PATIENCE.as_millis());
        }
    }
}

/// Puts a name into a queue that is open as long as this program runs.
fn tell(queue: &Queue<&'static str>, car: &'static str) {
    queue.put(car).expect("nobody shuts this queue down");
}

/// Takes so many names out of a queue, waiting for those that are still to come, and sorts them: which of several cars
/// is first is not for the light to say.
fn hear(queue: &Queue<&'static str>, count: usize) -> String {
    let mut cars: Vec<_> = queue.iter().take(count).collect();
    cars.sort_unstable();
    cars.join(", ")
}

fn main() {
    let crossing = Crossing { green: Event::new(), arrived: Queue::unbounded(), crossed: Queue::unbounded() };
    let Crossing { green, arrived, crossed } = &crossing;
    thread::scope(|cars| {
        println!("red");
        for car in ["the bus", "the lorry", "the tram"] {
            cars.spawn(|| crossing.drive(car));
        }
        println!("  {} arrive", hear(arrived, 3));
        cars.spawn(|| crossing.drive_in_a_hurry("the taxi")).join().expect("the taxi does not panic");
        println!("  {} is gone, and {} have crossed", hear(arrived, 1), crossed.len());

        green.set();
        println!("green");
        println!("  {} cross: one set wakes all that wait", hear(crossed, 3));
        cars.spawn(|| crossing.drive("the van"));
        println!("  {} crosses: who comes while it is green does not stop", hear(crossed, 1));
        hear(arrived, 1);

        green.clear();
        println!("red");
        cars.spawn(|| crossing.drive("the bicycle"));
        println!("  {} arrives; {} have crossed", hear(arrived, 1), crossed.len());

        green.set();
        println!("green");
        println!("  {} crosses: an event can be used again and again", hear(crossed, 1));
    });
}
