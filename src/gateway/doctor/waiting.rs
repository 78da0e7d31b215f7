//! By which system call executors wait for their devices.

use super::{Check, Machine};
use crate::rt::LinuxWorld;

const WAIT: &str = "Executors sleep in it until a reply arrives or a release is due, with microsecond precision.";

pub fn checks(machine: &Machine) -> Vec<Check> {
    let id = "wait_call";
    if !machine.is_live() {
        return Vec::new();
    }
    let mend = "a kernel from 5.11 on, or epoll_pwait2 in the filter of system calls (SystemCallFilter of the unit, the \
                seccomp profile of the container)";
    vec![match LinuxWorld::new() {
        Ok(world) => {
            let call = world.wait_call();
            match call.cost() {
                None => Check::ok(id, WAIT, call.name()),
                Some(cost) => {
                    Check::warn(id, WAIT, format!("no epoll_pwait2, {} is used instead: {cost}", call.name()), mend)
                }
            }
        }
        Err(error) => Check::bad(id, WAIT, error.to_string(), mend),
    }]
}
