# I2C: a bus of the kernel's stub, whose chips are memories of 256 registers for SMBus transfers (no plain ones).
#
#   i2c.bus      the number of the bus
#   i2c.rig.*    registers that i2cset wrote, as i2cget reads them: a byte, a word

modprobe i2c-dev
modprobe i2c-stub chip_addr=0x40,0x48,0x76
for adapter in /sys/class/i2c-dev/i2c-*; do
	! is_said '^SMBus stub' "$adapter/name" || bus=${adapter##*/i2c-}
done
echo "$bus" >/out/i2c.bus

# With their paths, for the shell has commands of its own with these names.
/bin/i2cset -y "$bus" 0x48 0x01 0x5a b
/bin/i2cset -y "$bus" 0x48 0x02 0x1234 w
keep i2c.rig.byte /bin/i2cget -y "$bus" 0x48 0x01 b
keep i2c.rig.word /bin/i2cget -y "$bus" 0x48 0x02 w
keep i2c.rig.low /bin/i2cget -y "$bus" 0x48 0x02 b
keep i2c.rig.nobody /bin/i2cget -y "$bus" 0x50 0x00 b
