//! I2C: the kernel's stub, with i2c-tools beside us.

use crate::guest::Guest;

pub fn i2cget_reads_what_i2cset_wrote(guest: &Guest) {
    for (name, value) in [("i2c.rig.byte", "0x5a"), ("i2c.rig.word", "0x1234"), ("i2c.rig.low", "0x34")] {
        guest.assert_done(name);
        assert_eq!(guest.text(name).trim(), value, "{name}");
    }
}

pub fn an_address_without_a_chip_does_not_answer(guest: &Guest) {
    assert_ne!(guest.code("i2c.rig.nobody"), 0);
}

/// What `fieldbeat read` printed of a tag: value and status.
fn printed(guest: &Guest, file: &str, tag: &str) -> (String, String) {
    let text = guest.text(file);
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(tag));
    let words: Vec<&str> = line.unwrap_or_else(|| panic!("no {tag} in {file}:\n{text}")).split_whitespace().collect();
    // Name, value, perhaps a unit, status, age in three words.
    let status = words.iter().rfind(|word| word.starts_with(['G', 'B', 'U']) && word.len() > 3);
    (words[1].to_owned(), status.unwrap_or_else(|| panic!("{words:?}")).to_string())
}

pub fn fieldbeat_reads_the_registers_that_i2cset_wrote(guest: &Guest) {
    for (tag, value) in [("byte", "90"), ("word", "4660"), ("swapped", "13330"), ("bits", "3"), ("flag", "true")] {
        assert_eq!(printed(guest, "i2c.read", tag), (value.to_owned(), "Good".to_owned()), "{tag}");
    }
    assert_eq!(printed(guest, "i2c.again", "byte").0, "165");
    assert_eq!(printed(guest, "i2c.again", "flag").0, "false");
}

pub fn fieldbeat_makes_volts_and_degrees_of_chips_that_i2cset_filled(guest: &Guest) {
    let close = |file: &str, tag: &str, wanted: f64| {
        let (value, status) = printed(guest, file, tag);
        let value: f64 = value.parse().unwrap();
        assert!((value / wanted - 1.0).abs() < 1e-4 && status == "Good", "{tag}: {value}, {status}");
    };
    close("i2c.read", "volts", 11.98);
    close("i2c.read", "amps", 10.0);
    close("i2c.read", "celsius", 45.5017);
    close("i2c.read", "pascals", 113_063.80);
    close("i2c.read", "humidity", 74.3179);
    // 0x7D00, of which the upper 13 bits count 4 mV each.
    close("i2c.again", "volts", 16.0);
}

pub fn a_chip_that_is_not_there_costs_its_own_tag_alone(guest: &Guest) {
    assert_eq!(printed(guest, "i2c.read", "nobody"), ("-".to_owned(), "BadDeviceFailure".to_owned()));
    assert_eq!(guest.code("i2c.read"), 1, "one is not good");
    assert_eq!(guest.code("i2c.again"), 0, "these are");
}

pub fn a_bus_that_is_not_there_is_told_with_what_to_do(guest: &Guest) {
    assert_eq!(guest.code("i2c.missing"), 1);
    let said = guest.text("i2c.missing.err");
    assert!(said.contains("/dev/i2c-77 does not exist") && said.contains("modprobe i2c-dev"), "{said}");
}

pub fn a_bus_that_comes_later_is_read_by_a_thread_below_the_executor(guest: &Guest) {
    let good = "fieldbeat_link_replies_total{link=\"bus\",result=\"good\"}";
    assert_eq!(guest.metric("i2c.down.metrics", good), 0.0);
    assert!(guest.metric("i2c.up.metrics", good) >= 10.0);
    let log = guest.text("i2c.log");
    assert!(log.contains("/tmp/i2c-bus does not exist"), "{log}");
    assert_eq!(guest.code("i2c"), 0, "{log}");
    let threads = guest.text("i2c.threads");
    let of = |name: &str| {
        let line = threads.lines().find(|line| line.ends_with(&format!(" {name}")));
        let words: Vec<&str> = line.unwrap_or_else(|| panic!("no {name}:\n{threads}")).split(' ').collect();
        (words[0].to_owned(), words[1].to_owned(), words[4].to_owned())
    };
    let fifo = "1".to_owned();
    assert_eq!(of("fb-exec0"), (fifo.clone(), "80".to_owned(), "1".to_owned()));
    assert_eq!(of("fb-i2c"), (fifo, "45".to_owned(), "0".to_owned()));
}
