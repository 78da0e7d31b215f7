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
