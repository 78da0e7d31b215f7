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

# Fieldbeat on the same bus. Where a chip's registers are two bytes with the higher first, i2cset has to send them the
# other way round, for the words of SMBus begin with the lower.
#
#   i2c.read        fieldbeat read of every tag, after the chips were filled by i2cset
#   i2c.again       the same after i2cset changed two of them
#   i2c.missing     fieldbeat read on a bus that is not there
#   i2c.log         a run whose bus comes later, with its report
#   i2c.threads     its threads
#   i2c.*.metrics   what it counted: without the bus, and with it
fill() { # address, first register, bytes...
	at=$2
	chip=$1
	shift 2
	for byte in "$@"; do
		/bin/i2cset -y "$bus" "$chip" "$at" "$byte" b
		at=$((at + 1))
	done
}

# INA219: 11.98 V and 20 mV, as in its data sheet.
/bin/i2cset -y "$bus" 0x40 0x02 0x985d w
/bin/i2cset -y "$bus" 0x40 0x01 0xd007 w
# BME280: identity, coefficients and a measurement that the Python package RPi.bme280 was asked about, too.
fill 0x76 0xd0 0x60
fill 0x76 0x88 0xfb 0x6c 0xa7 0x64 0x32 0x00 0x5a 0x8a 0xd7 0xd6 0xa7 0x0b 0x1b 0x20 0x3c 0x00 0xfa 0xff 0x6a 0x26 \
	0xc3 0xd9 0x0d 0x10 0x00 0x50
fill 0x76 0xe1 0x57 0x01 0x00 0x13 0xc0 0x03 0x1e
fill 0x76 0xf7 0x48 0x51 0x80 0x91 0x22 0xd0 0x82 0xaf

mkdir -p i2c/tags missing/tags
cat >i2c/fieldbeat.toml <<'TOML'
[gateway]
id = "buses"
[journal]
path = "journal"
[metrics]
listen = "127.0.0.1:0"
TOML
cp i2c/fieldbeat.toml missing/
cat >i2c/tags/i2c.json <<'JSON'
{"links": [{"name": "bus", "protocol": "i2c", "bus": "/tmp/i2c-bus", "clock_hz": 100000}],
 "tags": [
  {"name": "byte", "address": "bus:0x48:0x01:1", "scan_rate_ms": 200},
  {"name": "word", "address": "bus:0x48:0x02:2", "byte_order": "DCBA", "scan_rate_ms": 200},
  {"name": "swapped", "address": "bus:0x48:0x02:2", "scan_rate_ms": 200},
  {"name": "bits", "address": "bus:0x48:0x02:2", "byte_order": "DCBA", "shift": 4, "mask": "0x0F", "scan_rate_ms": 200},
  {"name": "flag", "address": "bus:0x48:0x01:1", "data_type": "bool", "bit": 6, "scan_rate_ms": 200},
  {"name": "volts", "address": "bus:0x40:ina219.bus_voltage", "unit": "V", "scan_rate_ms": 200},
  {"name": "amps", "address": "bus:0x40:ina219.current", "chip": {"shunt_ohm": 0.002}, "scan_rate_ms": 200},
  {"name": "celsius", "address": "bus:0x76:bme280.temperature", "scan_rate_ms": 500},
  {"name": "pascals", "address": "bus:0x76:bme280.pressure", "scan_rate_ms": 500},
  {"name": "humidity", "address": "bus:0x76:bme280.humidity", "scan_rate_ms": 500},
  {"name": "nobody", "address": "bus:0x50:0x00:1", "scan_rate_ms": 200}]}
JSON
sed 's|/tmp/i2c-bus|/dev/i2c-77|' i2c/tags/i2c.json >missing/tags/i2c.json
tags="byte word swapped bits flag volts amps celsius pascals humidity nobody"

ln -s "/dev/i2c-$bus" /tmp/i2c-bus
keep i2c.read fieldbeat read --config i2c $tags
fill 0x48 0x01 0xa5
/bin/i2cset -y "$bus" 0x40 0x02 0x007d w
keep i2c.again fieldbeat read --config i2c byte flag volts
keep i2c.missing fieldbeat read --config missing byte

rm /tmp/i2c-bus
start_gateway i2c i2c
sleep 1
page /out/i2c.log metrics >/out/i2c.down.metrics
ln -s "/dev/i2c-$bus" /tmp/i2c-bus
has_replies() { page /out/i2c.log metrics | grep -q 'fieldbeat_link_replies_total{link="bus",result="good"} [1-9][0-9]'; }
until_done has_replies
threads "$gateway" >/out/i2c.threads
page /out/i2c.log metrics >/out/i2c.up.metrics
stop_gateway i2c
