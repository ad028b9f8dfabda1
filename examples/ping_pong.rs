//! Two players and a referee: greenlets, which say for themselves who goes on.
//!
//! ```text
//! cargo run --example ping_pong
//! ```
//!
//! A generator goes back to whoever resumed it. The players here hit the ball to *each other*: no one in the middle
//! resumes them, and neither is the other's caller. Each is the referee's child, so when one misses, its body just
//! returns, and the referee goes on with what it returned. Ending the other one is the referee's decision.

use std::cell::OnceCell;
use std::error::Error;
use std::rc::Rc;

use crewkit::coroutine::{Greenlet, Interrupt};

/// What goes from one to the other.
#[derive(Clone, Copy, Debug)]
enum Message {
    Ball { speed: u32 },
    Missed { player: &'static str, speed: u32 },
}

/// Who a player plays against is known when both are there.
type Opponent = Rc<OnceCell<Greenlet<Message>>>;

fn player(name: &'static str, skill: u32, opponent: Opponent) -> Greenlet<Message> {
    Greenlet::new(move |mut message| {
        while let Message::Ball { speed } = message {
            if speed > skill {
                return Ok(Message::Missed { player: name, speed });
            }
            println!("{name} returns it at {speed}");
            let opponent = opponent.get().ok_or("nobody to play with").map_err(std::io::Error::other)?;
            message = match opponent.switch(Message::Ball { speed: speed + 1 }) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(Interrupt::Close) => {
                    println!("{name} puts the bat away");
                    return Err(Interrupt::Close);
                }
                Err(error) => return Err(error),
            };
        }
        Ok(message)
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let (of_ping, of_pong) = (Opponent::default(), Opponent::default());
    let ping = player("ping", 4, Rc::clone(&of_ping));
    let pong = player("pong", 9, Rc::clone(&of_pong));
    // The two hold each other now; the referee ends them, so nothing is left of the cycle.
    let known = of_ping.set(pong.clone()).and(of_pong.set(ping.clone()));
    assert!(known.is_ok(), "each is told once");

    let end = ping.switch(Message::Ball { speed: 1 })?;
    if let Some(Message::Missed { player, speed }) = end {
        println!("{player} misses it at {speed}");
    }
    println!("ping has ended: {}, pong: {}", ping.is_dead(), pong.is_dead());

    // Python returns its GreenletExit here; it is no value of ours.
    let exit = pong.throw(Interrupt::Close)?;
    println!("and pong: {}, without a value: {}", pong.is_dead(), exit.is_none());
    Ok(())
}
