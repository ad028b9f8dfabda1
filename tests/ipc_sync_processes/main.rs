//! What processes wait for in shared memory, and the deaths and stops of those who hold it, wait for it, or bring it about.
//! A kill at each instruction is in `kill_points`.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]
#![expect(clippy::mem_forget, reason = "who is killed drops nothing")]

#[path = "../alone/mod.rs"]
mod alone;
#[path = "../holders/mod.rs"]
mod holders;
mod holding;
mod meeting;
mod queueing;
#[path = "../alone/sleeping.rs"]
mod sleeping;
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    crewkit::init();
    alone::main(&[
        ("permits_of_the_killed_come_back", holding::permits_of_the_killed_come_back),
        ("permits_of_the_unreaped_come_back", holding::permits_of_the_unreaped_come_back),
        ("permits_of_the_killed_come_to_who_waits", holding::permits_of_the_killed_come_to_who_waits),
        ("forgotten_permits_do_not_come_back", holding::forgotten_permits_do_not_come_back),
        ("a_killed_waiter_keeps_nothing_from_others", holding::a_killed_waiter_keeps_nothing_from_others),
        ("a_stopped_holder_keeps_its_permits", holding::a_stopped_holder_keeps_its_permits),
        ("an_inherited_semaphore_is_foreign", holding::an_inherited_semaphore_is_foreign),
        ("a_forked_closure_sits_in_a_seat_of_its_own", holding::a_forked_closure_sits_in_a_seat_of_its_own),
        (
            "semaphores_travel_by_every_start_method_and_to_pools",
            holding::semaphores_travel_by_every_start_method_and_to_pools,
        ),
        ("processes_share_permits", holding::processes_share_permits),
        ("seats_of_the_dead_are_given_to_others", holding::seats_of_the_dead_are_given_to_others),
        ("an_event_is_set_by_another_process", holding::an_event_is_set_by_another_process),
        ("a_killed_waiter_for_an_event_is_no_matter", holding::a_killed_waiter_for_an_event_is_no_matter),
        ("a_stopped_setter_holds_up_nobody", holding::a_stopped_setter_holds_up_nobody),
        ("an_inherited_event_is_foreign", holding::an_inherited_event_is_foreign),
        ("processes_go_together_trip_after_trip", meeting::processes_go_together_trip_after_trip),
        ("a_killed_party_breaks_the_barrier", meeting::a_killed_party_breaks_the_barrier),
        ("a_party_that_goes_home_breaks_nothing", meeting::a_party_that_goes_home_breaks_nothing),
        (
            "a_stopped_party_holds_up_nobody_beyond_the_timeout",
            meeting::a_stopped_party_holds_up_nobody_beyond_the_timeout,
        ),
        ("a_notification_whose_owner_is_killed_goes_on", meeting::a_notification_whose_owner_is_killed_goes_on),
        ("a_killed_waiter_is_passed_over", meeting::a_killed_waiter_is_passed_over),
        ("a_waiter_is_told_of_a_death_with_the_lock", meeting::a_waiter_is_told_of_a_death_with_the_lock),
        ("a_stopped_holder_of_the_lock_holds_up_no_waiter", meeting::a_stopped_holder_of_the_lock_holds_up_no_waiter),
        ("processes_hand_over_by_a_condition", meeting::processes_hand_over_by_a_condition),
        ("an_inherited_barrier_or_condition_is_foreign", meeting::an_inherited_barrier_or_condition_is_foreign),
        ("items_go_between_processes_each_once", queueing::items_go_between_processes_each_once),
        ("a_lease_of_the_killed_is_handed_out_again", queueing::a_lease_of_the_killed_is_handed_out_again),
        ("a_lease_of_the_killed_comes_to_who_waits", queueing::a_lease_of_the_killed_comes_to_who_waits),
        (
            "a_lease_of_the_killed_comes_to_who_waits_for_many_things",
            queueing::a_lease_of_the_killed_comes_to_who_waits_for_many_things,
        ),
        ("a_stopped_user_does_not_hold_up_a_shut_down", queueing::a_stopped_user_does_not_hold_up_a_shut_down),
        (
            "a_lease_of_the_killed_comes_back_in_a_queue_that_never_runs_empty",
            queueing::a_lease_of_the_killed_comes_back_in_a_queue_that_never_runs_empty,
        ),
        ("what_the_killed_had_got_hangs_nobody", queueing::what_the_killed_had_got_hangs_nobody),
        ("an_item_is_reported_done_by_another_process", queueing::an_item_is_reported_done_by_another_process),
        (
            "a_stopped_user_holds_up_nobody_beyond_the_timeout",
            queueing::a_stopped_user_holds_up_nobody_beyond_the_timeout,
        ),
        (
            "a_killed_waiter_keeps_nothing_from_others_at_a_queue",
            queueing::a_killed_waiter_keeps_nothing_from_others_at_a_queue,
        ),
        ("a_drain_waits_for_leases_of_others", queueing::a_drain_waits_for_leases_of_others),
        ("readiness_is_seen_in_other_processes", queueing::readiness_is_seen_in_other_processes),
        ("an_inherited_queue_is_foreign", queueing::an_inherited_queue_is_foreign),
        (
            "queues_travel_by_every_start_method_and_to_pools",
            queueing::queues_travel_by_every_start_method_and_to_pools,
        ),
        ("a_queue_leaves_nothing_behind", queueing::a_queue_leaves_nothing_behind),
        ("without_descriptors_there_is_an_error", holding::without_descriptors_there_is_an_error),
        ("no_descriptor_is_left", holding::no_descriptor_is_left),
    ])
}
