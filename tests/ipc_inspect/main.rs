//! What is seen of shared objects from outside: `ipc::inspect`, and the example that shows it. And what making an object needs
//! of the system: memory, and no file.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]
#![expect(clippy::mem_forget, reason = "who is killed drops nothing")]

#[path = "../alone/mod.rs"]
mod alone;
mod elsewhere;
#[path = "../holders/mod.rs"]
mod holders;
mod looking;
mod making;
#[path = "../alone/sleeping.rs"]
mod sleeping;
#[path = "../ipc_sync_processes/support.rs"]
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    crewkit::init();
    alone::main(&[
        ("who_holds_and_who_waits_is_seen_from_outside", looking::who_holds_and_who_waits_is_seen_from_outside),
        ("every_kind_is_known", looking::every_kind_is_known),
        ("the_dead_hold_nothing_and_are_counted", looking::the_dead_hold_nothing_and_are_counted),
        ("a_queue_shows_what_the_living_have_of_it", looking::a_queue_shows_what_the_living_have_of_it),
        ("nonsense_is_shown_and_never_a_fault", looking::nonsense_is_shown_and_never_a_fault),
        ("few_descriptors_are_enough", looking::few_descriptors_are_enough),
        ("who_ends_or_is_stopped_holds_up_nobody", looking::who_ends_or_is_stopped_holds_up_nobody),
        ("others_may_not_be_looked_at", looking::others_may_not_be_looked_at),
        (
            "who_is_in_another_pid_namespace_is_not_taken_for_somebody_here",
            elsewhere::who_is_in_another_pid_namespace_is_not_taken_for_somebody_here,
        ),
        ("the_example_shows_who_waits_for_whom", looking::the_example_shows_who_waits_for_whom),
        ("nothing_of_the_file_system_is_needed", making::nothing_of_the_file_system_is_needed),
        ("too_little_memory_is_an_error_when_it_is_made", making::too_little_memory_is_an_error_when_it_is_made),
        ("too_little_room_for_mappings_is_an_error", making::too_little_room_for_mappings_is_an_error),
    ])
}
