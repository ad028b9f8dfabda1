//! Operations on a queue, the queues that do them, and a plain model of what they must answer.

mod machine;
mod model;
mod subject;

pub use machine::{Answer, Form, Item, Op, ops};
pub use model::{Model, Order};
pub use subject::Subject;
