//! A tag file goes and comes back while the gateway runs on the isolated CPU.

use crate::gateway::faults_of_the_executor;
use crate::guest::Guest;

pub fn a_tag_file_goes_and_comes_back_while_it_runs(guest: &Guest) {
    let log = guest.text("gateway.log");
    assert_eq!(guest.text("reload.steps"), "gone\nback\n", "{log}");
    assert!(log.contains("new configuration adopted: 60 tags (0 new, 20 gone) on 3 links"), "{log}");
    assert!(log.contains("new configuration adopted: 80 tags (20 new, 0 gone) on 4 links"), "{log}");
}

pub fn the_others_keep_their_connections(guest: &Guest) {
    for link in ["dev0", "dev1", "dev2"] {
        let connects = guest.metric("reload.metrics", &format!("fieldbeat_link_connects_total{{link=\"{link}\"}}"));
        let before = guest.metric("gateway.metrics.late", &format!("fieldbeat_link_connects_total{{link=\"{link}\"}}"));
        assert_eq!(connects, before, "{link}");
    }
}

pub fn the_executor_meets_no_page_fault_through_the_changes(guest: &Guest) {
    let before = faults_of_the_executor(guest, "reload.threads.before");
    assert_eq!(faults_of_the_executor(guest, "reload.threads.after"), before);
}
