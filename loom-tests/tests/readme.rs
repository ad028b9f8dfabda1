//! README's example of a model, word for word: `tests/tidy` compares the two.

use crewkit::model::{self, Arc, thread};
use crewkit::queue::{Queue, Shutdown};

#[test]
fn nothing_that_was_put_is_lost_at_the_end() {
    model::check(|| {
        let jobs = Arc::new(Queue::bounded(1));
        let consumer = thread::spawn({
            let jobs = Arc::clone(&jobs);
            move || jobs.iter().sum::<u64>()
        });
        jobs.put(2).unwrap();
        jobs.put(3).unwrap();
        jobs.shutdown(Shutdown::Drain);
        assert_eq!(consumer.join().unwrap(), 5);
    });
}
