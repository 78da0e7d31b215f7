"""cantools makes messages of random values, python-can sends them; the values are printed as JSON, by signal, in their
order. On the second interface: frames of CAN FD whose last byte counts."""

import json
import random
import sys
import time

import can
import cantools

classical, fd, dbc = sys.argv[1:4]
database = cantools.database.load_file(dbc)
rng = random.Random(1)
sent = {}


def note(message, values):
    for name, value in values.items():
        sent.setdefault(f"{message}.{name}", []).append(value)


def values_of(at):
    if at % 2 == 0:
        return "Motor", {
            "Speed": rng.randrange(65536) * 0.25 - 100,
            "Torque": rng.randrange(-32768, 32768),
            "Gear": rng.choice(["neutral", "first", "reverse"]),
            "Running": rng.randrange(2),
        }
    if at % 4 == 1:
        return "Pages", {"Page": 1, "Count": rng.randrange(1 << 32)}
    return "Pages", {"Page": 2, "Level": rng.randrange(-1000, 1000) / 8}


with can.Bus(interface="socketcan", channel=classical) as bus:
    for at in range(400):
        name, values = values_of(at)
        message = database.get_message_by_name(name)
        bus.send(can.Message(arbitration_id=message.frame_id, is_extended_id=False, data=message.encode(values)))
        note(name, values)
        time.sleep(0.002)
with can.Bus(interface="socketcan", channel=fd, fd=True) as bus:
    for at in range(100):
        data = bytes([0xAA] * 63 + [at])
        bus.send(can.Message(arbitration_id=0x101, is_extended_id=False, data=data, is_fd=True, bitrate_switch=True))
        note("Fd", {"Last": at})
        time.sleep(0.002)
print(json.dumps(sent))
