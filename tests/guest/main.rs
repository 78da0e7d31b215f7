//! The gateway on a PREEMPT_RT kernel with an isolated CPU, in an emulated machine: function, never times.
//!
//! One boot serves every test. What happens in the guest is in `scenario.sh` and the parts it runs, how it is booted in
//! `boot.sh`, what it needs in `prepare.sh` and `peers.sh` (`make test` runs them). Where that can't be had the tests
//! show as ignored, with the reason; with `FIELDBEAT_GUEST=required` they fail instead, with `FIELDBEAT_GUEST=off` they
//! are not tried. What the guest left, among it the latencies that nobody judges, lies in `target/guest`.
//!
//! # Another test
//!
//! 1. What shall happen goes into `parts/PART.sh`, a shell script of busybox; `keep NAME COMMAND...` runs a command there
//!    and keeps its output, errors and exit code as `NAME`, `NAME.err` and `NAME.code`. The head of the file lists the
//!    names. A part has its own interfaces (`can_up vcan0`), ends what it starts, and judges nothing.
//! 2. Who talks to Fieldbeat there are independent peers: `candump`, `cansend`, `cangen`, `i2cget` and so on, and Python
//!    with python-can, cantools and canopen: `python3 /peers/NAME.py` runs `peers/NAME.py`. Python takes 3 s to import
//!    all of them, so one script does much. Wait for a state (`until_done is_said 'ready' /out/NAME`, `until_done hears
//!    vcan0 2`), never for a time.
//! 3. The test is a function of `PART.rs` with an entry in [`TESTS`], and reads the files: `guest.assert_done(NAME)`,
//!    `guest.text(NAME)`, `guest.json(NAME)`.
//! 4. A new part has its name in [`WITH_PART`]. Only the parts that the wanted tests look at are run: `cargo test --test
//!    guest -- canopen::` takes some 15 s.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod can;
mod canopen;
mod gateway;
mod guest;
mod i2c;
mod latency;
mod machine;
#[path = "../peers/mod.rs"]
mod peers;
mod plant;
mod reload;
mod stall;
mod whole;

use std::panic::catch_unwind;
use std::process::ExitCode;

use guest::Guest;

type Test = (&'static str, fn(&Guest));

/// The name of a function as the name of a test.
macro_rules! tests {
    ($($module:ident::$test:ident),* $(,)?) => { [$((concat!(stringify!($module), "::", stringify!($test)), $module::$test as fn(&Guest))),*] };
}

const TESTS: &[Test] = &tests![
    machine::the_doctor_sees_a_real_time_kernel_and_an_isolated_cpu,
    machine::the_doctor_names_the_clock_that_the_kernel_uses,
    machine::the_doctors_exit_code_says_whether_something_is_bad,
    machine::apply_mends_what_the_doctor_found_and_nothing_else,
    machine::apply_leaves_cpu_1_to_the_executor,
    machine::apply_raises_the_interrupt_thread_of_the_field_network,
    machine::a_second_apply_changes_nothing,
    machine::show_tells_what_is_and_what_was,
    machine::revert_brings_every_value_back,
    gateway::the_executor_has_fifo_80_on_the_isolated_cpu_alone,
    gateway::every_other_thread_is_ordinary_and_stays_away,
    gateway::its_memory_is_locked,
    gateway::the_running_executor_meets_no_page_fault,
    gateway::it_misses_nothing_of_the_machine_and_is_well,
    gateway::each_sample_is_stored_or_counted,
    reload::a_tag_file_goes_and_comes_back_while_it_runs,
    reload::the_others_keep_their_connections,
    reload::the_executor_meets_no_page_fault_through_the_changes,
    latency::the_harness_measures_on_the_isolated_cpu,
    stall::a_starved_executor_ends_the_process,
    stall::the_log_names_the_thread_and_who_holds_its_cpu,
    stall::what_was_read_before_the_stall_is_stored,
    can::python_can_hears_what_cansend_sends,
    can::candump_hears_them_and_what_python_can_sends,
    can::the_gateway_reads_what_cantools_sends,
    can::a_flood_is_read_or_counted_as_dropped,
    can::an_interface_that_goes_down_and_up_is_used_again,
    can::candump_hears_the_message_that_is_sent_on_its_beat,
    can::an_interface_that_is_not_there_is_named,
    can::messages_of_the_kernels_j1939_are_put_together,
    can::metrics_and_health_show_what_a_controller_tells_of_itself,
    canopen::a_master_of_the_package_reads_writes_and_supervises_its_node,
    canopen::fieldbeat_sets_a_node_of_the_package_up_and_does_so_again_when_it_comes_back,
    canopen::its_values_go_bad_while_it_is_gone_and_are_good_again,
    i2c::i2cget_reads_what_i2cset_wrote,
    i2c::an_address_without_a_chip_does_not_answer,
    i2c::fieldbeat_reads_the_registers_that_i2cset_wrote,
    i2c::fieldbeat_makes_volts_and_degrees_of_chips_that_i2cset_filled,
    i2c::a_chip_that_is_not_there_costs_its_own_tag_alone,
    i2c::a_bus_that_is_not_there_is_told_with_what_to_do,
    i2c::a_bus_that_comes_later_is_read_by_a_thread_below_the_executor,
    plant::cantools_decodes_every_message_that_the_plant_sends,
    plant::values_are_those_of_a_line_with_pages_and_signs,
    plant::the_mixer_follows_a_command,
    plant::faults_of_the_senders_show_on_the_bus,
    plant::a_canopen_master_gets_all_from_the_node,
    whole::every_kind_of_link_runs_beside_the_others,
    whole::each_sample_is_stored_or_counted,
    whole::values_of_can_are_those_that_cantools_decodes,
    whole::values_of_canopen_are_those_in_the_nodes_frames,
    whole::a_message_that_the_gateway_sends_is_heard,
];

/// Modules with a part of the scenario of their own name; the tests of the others look at the machine's.
const WITH_PART: [&str; 5] = ["can", "canopen", "i2c", "plant", "whole"];

/// Options of the usual test programs that take a value of their own.
const WITH_VALUE: [&str; 5] = ["--test-threads", "--skip", "--format", "--color", "--logfile"];

fn main() -> ExitCode {
    let mut filters = Vec::new();
    let mut arguments = std::env::args().skip(1);
    let mut list = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => list = true,
            option if WITH_VALUE.contains(&option) => drop(arguments.next()),
            option if option.starts_with('-') => (),
            _ => filters.push(argument),
        }
    }
    let is_wanted = |test: &&Test| filters.is_empty() || filters.iter().any(|filter| test.0.contains(filter));
    let wanted: Vec<&Test> = TESTS.iter().filter(is_wanted).collect();
    if list {
        wanted.iter().for_each(|test| println!("{}: test", test.0));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", wanted.len());
    if wanted.is_empty() {
        return ExitCode::SUCCESS;
    }
    let parts = parts_of(&wanted);
    match can_be_had(&parts) {
        Ok(()) => run(&wanted, &parts),
        Err(why) if is_required() => {
            println!("FIELDBEAT_GUEST=required, but the guest can't be had: {why}");
            ExitCode::FAILURE
        }
        Err(why) => {
            wanted.iter().for_each(|test| println!("test {} ... ignored", test.0));
            println!("\nguest tests skipped: {why}");
            println!("\ntest result: NOT RUN. 0 passed; 0 failed; {} ignored", wanted.len());
            ExitCode::SUCCESS
        }
    }
}

fn wish() -> String {
    std::env::var("FIELDBEAT_GUEST").unwrap_or_default()
}

fn is_required() -> bool {
    wish() == "required"
}

/// The parts of the scenario that tests look at, in the order of the tests.
fn parts_of(wanted: &[&Test]) -> Vec<&'static str> {
    let mut parts = Vec::new();
    for (name, _) in wanted {
        let module = name.split("::").next().unwrap();
        let part = if WITH_PART.contains(&module) { module } else { guest::MACHINE };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts
}

/// Whether all is there that the parts need; if not, what to install.
fn can_be_had(parts: &[&str]) -> Result<(), String> {
    match wish().as_str() {
        "" | "required" => (),
        "off" => return Err("FIELDBEAT_GUEST=off".into()),
        other => panic!("FIELDBEAT_GUEST={other} is neither required nor off"),
    }
    guest::ask("prepare.sh", &["--offline"])?;
    guest::peers(parts)?;
    Ok(())
}

fn run(wanted: &[&Test], parts: &[&str]) -> ExitCode {
    let guest = Guest::boot(parts);
    let mut failed = Vec::new();
    for (name, test) in wanted {
        let passed = catch_unwind(|| test(&guest)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {} passed; {} failed", wanted.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
