//! A kill at every machine instruction of sending, receiving, and using what is shared.
//!
//! A traced child runs k single steps into an operation and is killed there; then the survivors use what they share with
//! it. They must not hang, must find each message, value or permit whole or not at all, or be told, and no descriptor may
//! be left over; and a fresh process that knows nothing of the death finishes a round. Survivors come later, or are asleep
//! already, two of them where there can be two. What the victim takes over may be another dead one's: of a process killed,
//! reaped or not, of one that forgot its guard, of a thread that has ended.
//!
//! Between two system calls, who sends or receives by a socket does nothing that another can see, so every run takes the
//! points before each call. Of what is shared in memory each store can be seen: there a run is a sample. It takes one point
//! more between two calls; `CREWKIT_KILL_POINTS=some` takes five or so (`ci/crash.sh`), `CREWKIT_KILL_POINTS=all` every one.
//! Build with optimisations for that, as there are fewer then. The last line says how many were taken of how many there are.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]
#![expect(clippy::mem_forget, reason = "who is killed drops nothing")]

#[path = "../alone/mod.rs"]
mod alone;
mod arrays;
mod messages;
mod objects;
mod points;
mod queues;
#[path = "../alone/sleeping.rs"]
mod sleeping;
mod strangers;
mod successors;
mod tally;
mod waits;

use std::process::ExitCode;

use arrays::{replacing_an_element, replacing_an_item, writing_through_a_guard};
use crewkit::ipc::{Lock, RLock};
use messages::{
    FRESH, Large, OFFERED, RINGED, SWITCHED, Small, echoing, echoing_an_end, echoing_over_tcp,
    receiving_from_a_blocked_sender, sending, sending_an_end, sending_over_tcp,
};
use objects::{releasing_a_lock, taking_a_lock, updating_a_value};
use points::{When, both, long, once_seen_always_seen, series};
use strangers::{accepting, connecting, taking_a_path};
use successors::{
    End, clearing_an_event, coming_first_to_a_barrier, giving_up_a_semaphore, passing_on_a_notification,
    resetting_a_barrier, taking_over_a_lock, taking_over_a_lock_for_which_two_wait, taking_permits_of_the_dead,
    waiting_for_a_lock, waiting_for_an_event,
};
use waits::{
    being_notified, giving_back_permits, making_a_trip, making_and_forgetting_permits, notifying, setting_an_event,
    taking_permits, waiting_for_permits, waiting_from_a_depth,
};

fn main() -> ExitCode {
    let tally = tally::begin();
    let code = alone::main(&[
        ("send_a_small_message", || both(sending::<Small, FRESH>)),
        ("send_a_small_message_by_a_ring", || both(sending::<Small, RINGED>)),
        ("send_a_small_message_and_offer_a_ring", || both(sending::<Small, OFFERED>)),
        ("send_the_first_small_message_by_a_ring", || both(sending::<Small, SWITCHED>)),
        ("send_a_message_of_three_chunks", || both(sending::<Large, FRESH>)),
        ("send_a_message_of_five_pieces_by_a_ring", || long(sending::<Large, RINGED>)),
        ("send_a_message_with_a_connection_inside", || both(sending_an_end::<FRESH>)),
        ("send_a_message_with_a_connection_inside_beside_a_ring", || both(sending_an_end::<RINGED>)),
        ("receive_and_answer_a_small_message", || both(echoing::<Small, FRESH>)),
        ("receive_and_answer_a_small_message_by_a_ring", || both(echoing::<Small, RINGED>)),
        ("receive_and_answer_a_small_message_and_a_ring", || both(echoing::<Small, OFFERED>)),
        ("receive_and_answer_the_first_small_message_by_a_ring", || both(echoing::<Small, SWITCHED>)),
        ("receive_and_answer_a_message_of_three_chunks", || both(echoing::<Large, FRESH>)),
        ("receive_and_answer_a_message_of_five_pieces_by_a_ring", || long(echoing::<Large, RINGED>)),
        ("receive_and_answer_a_message_with_a_connection_inside", || both(echoing_an_end::<FRESH>)),
        ("receive_and_answer_a_message_with_a_connection_inside_beside_a_ring", || both(echoing_an_end::<RINGED>)),
        ("send_a_small_message_over_tcp", || both(sending_over_tcp::<Small>)),
        ("receive_and_answer_a_small_message_over_tcp", || both(echoing_over_tcp::<Small>)),
        ("send_a_message_of_three_records_over_tcp", || {
            // The pieces in which it comes depend on the survivor, which takes them meanwhile.
            series(sending_over_tcp::<Large>, When::Asleep);
        }),
        ("receive_while_the_sender_is_blocked", || {
            // What this survivor sees depends on how far it came itself, so only the ends of the series are certain.
            series(receiving_from_a_blocked_sender::<FRESH>, When::Asleep);
        }),
        ("receive_from_a_ring_while_the_sender_is_blocked", || {
            series(receiving_from_a_blocked_sender::<RINGED>, When::Asleep);
        }),
        ("connect_to_a_listener", || {
            // Whether a listener that is about to accept sees the death first depends on the clock.
            series(connecting, When::Asleep);
        }),
        ("accept_a_client", || {
            series(accepting, When::Asleep);
        }),
        ("take_over_a_path_and_give_it_back", || once_seen_always_seen(taking_a_path, When::Later)),
        ("take_and_release_a_lock", || once_seen_always_seen(taking_a_lock::<Lock>, When::Later)),
        ("take_and_release_an_rlock_twice", || once_seen_always_seen(taking_a_lock::<RLock>, When::Later)),
        ("take_over_a_lock_of_the_killed", || {
            once_seen_always_seen(|_| taking_over_a_lock::<Lock>(End::Killed), When::Later);
        }),
        ("take_over_a_lock_of_a_zombie", || {
            once_seen_always_seen(|_| taking_over_a_lock::<Lock>(End::Unreaped), When::Later);
        }),
        ("take_over_a_lock_whose_guard_was_forgotten", || {
            once_seen_always_seen(|_| taking_over_a_lock::<Lock>(End::Forgetful), When::Later);
        }),
        ("take_over_a_lock_whose_thread_has_ended", || {
            once_seen_always_seen(|_| taking_over_a_lock::<Lock>(End::Thread), When::Later);
        }),
        ("take_over_an_rlock_of_the_killed", || {
            once_seen_always_seen(|_| taking_over_a_lock::<RLock>(End::Killed), When::Later);
        }),
        ("take_over_an_rlock_whose_thread_has_ended", || {
            once_seen_always_seen(|_| taking_over_a_lock::<RLock>(End::Thread), When::Later);
        }),
        ("mend_a_lock_for_which_two_wait", || {
            once_seen_always_seen(taking_over_a_lock_for_which_two_wait::<Lock>, When::Asleep);
        }),
        ("mend_an_rlock_for_which_two_wait", || {
            once_seen_always_seen(taking_over_a_lock_for_which_two_wait::<RLock>, When::Asleep);
        }),
        ("wait_for_a_lock", || {
            series(waiting_for_a_lock::<Lock>, When::Later);
        }),
        ("wait_for_an_rlock", || {
            series(waiting_for_a_lock::<RLock>, When::Later);
        }),
        ("take_permits_of_the_killed", || {
            // Who looks at processes makes numbers into text, so only the ends of the series are certain; so below.
            series(|_| taking_permits_of_the_dead(End::Killed), When::Later);
        }),
        ("take_permits_of_a_zombie", || {
            series(|_| taking_permits_of_the_dead(End::Unreaped), When::Later);
        }),
        ("take_permits_that_were_forgotten", || {
            series(|_| taking_permits_of_the_dead(End::Forgetful), When::Later);
        }),
        ("give_up_a_semaphore", || once_seen_always_seen(giving_up_a_semaphore, When::Later)),
        ("clear_an_event", || once_seen_always_seen(clearing_an_event, When::Later)),
        ("wait_for_an_event", || {
            series(waiting_for_an_event, When::Later);
        }),
        ("come_first_to_a_barrier", || {
            series(coming_first_to_a_barrier, When::Later);
        }),
        ("mend_a_barrier_of_the_killed", || {
            series(|_| resetting_a_barrier(End::Killed), When::Later);
        }),
        ("mend_a_barrier_of_a_zombie", || {
            series(|_| resetting_a_barrier(End::Unreaped), When::Later);
        }),
        ("pass_on_a_notification", || {
            series(passing_on_a_notification, When::Later);
        }),
        ("release_a_lock_for_which_two_wait", || once_seen_always_seen(releasing_a_lock::<Lock>, When::Asleep)),
        ("release_an_rlock_for_which_two_wait", || once_seen_always_seen(releasing_a_lock::<RLock>, When::Asleep)),
        ("replace_an_element_of_an_array", || once_seen_always_seen(replacing_an_element, When::Later)),
        ("write_through_the_guard_of_an_array", || once_seen_always_seen(writing_through_a_guard, When::Later)),
        ("replace_an_item_of_a_list", || once_seen_always_seen(replacing_an_item, When::Later)),
        ("update_a_value", || once_seen_always_seen(updating_a_value, When::Later)),
        ("take_and_give_back_permits", || once_seen_always_seen(taking_permits, When::Later)),
        ("give_back_permits_for_which_two_wait", || once_seen_always_seen(giving_back_permits, When::Asleep)),
        ("wait_for_permits", || {
            // How often it looks depends on the clock, so only the ends of the series are certain; so below.
            series(waiting_for_permits, When::Later);
        }),
        ("make_and_forget_permits", || once_seen_always_seen(making_and_forgetting_permits, When::Later)),
        ("set_an_event_for_which_two_wait", || once_seen_always_seen(setting_an_event, When::Asleep)),
        ("come_last_to_a_barrier_at_which_two_wait", || once_seen_always_seen(making_a_trip, When::Asleep)),
        ("put_into_a_queue", || both(queues::putting)),
        ("put_a_batch_into_a_queue", || both(queues::putting_a_batch)),
        ("put_into_a_queue_that_is_waited_for_among_many_things", || {
            both(queues::putting_for_who_waits_for_many_things);
        }),
        ("wait_for_a_queue_among_many_things", || {
            series(queues::waiting_among_many_things, When::Later);
            series(queues::waiting_among_many_things, When::Asleep);
        }),
        ("get_from_a_queue", || both(queues::getting)),
        ("get_a_batch_from_a_queue", || both(queues::getting_a_batch)),
        ("clear_a_queue", || both(queues::clearing)),
        ("try_to_get_from_a_queue", || both(queues::trying_to_get)),
        ("lease_from_a_queue", || once_seen_always_seen(queues::leasing, When::Later)),
        ("acknowledge_a_lease", || both(queues::acknowledging)),
        ("acknowledge_a_lease_for_one_who_only_puts", || {
            once_seen_always_seen(queues::acknowledging_for_one_who_puts, When::Later);
        }),
        ("give_a_lease_back", || both(queues::giving_back)),
        ("report_a_task_done", || both(queues::reporting)),
        ("join_a_queue", || both(queues::joining)),
        ("shut_a_queue_down_for_who_waits", || both(queues::draining)),
        ("shut_a_queue_down", || once_seen_always_seen(queues::shutting_down, When::Later)),
        ("notify_two_who_wait", || once_seen_always_seen(notifying, When::Asleep)),
        ("wait_for_a_condition", || {
            series(being_notified, When::Later);
        }),
        ("wait_under_an_rlock_of_three_levels", || {
            series(waiting_from_a_depth, When::Later);
        }),
    ]);
    if tally.is_some() {
        tally::print();
    }
    code
}
