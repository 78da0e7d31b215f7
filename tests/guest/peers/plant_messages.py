"""Listens to the plant's senders for three seconds and decodes all by its DBC file; commands the mixer meanwhile.

plant_messages.py INTERFACE [FAULT...]
"""

import collections
import json
import sys
import time

import can
import cantools

from plant import Plant

interface, *faults = sys.argv[1:]
options = [word for fault in faults for word in ("--can-fault", fault)]
frames = collections.defaultdict(list)
with can.Bus(interface="socketcan", channel=interface, fd=True) as bus, Plant("--can", interface, *options) as plant:
    database = cantools.database.load_file(plant.file("plant.dbc"), strict=True)
    command = database.encode_message("MixerCommand", {"Setpoint": -73.5, "Enable": "Yes"})
    until = time.monotonic() + 3
    commanded = False
    while (left := until - time.monotonic()) > 0:
        message = bus.recv(timeout=left)
        if message is None:
            break
        frames["error" if message.is_error_frame else message.arbitration_id].append(message)
        if not commanded and left < 2:
            bus.send(can.Message(arbitration_id=0x119, data=command, is_extended_id=False))
            commanded = True

seen = {"errors": [frame.arbitration_id for frame in frames.pop("error", [])], "messages": {}}
for known in database.messages:
    own = frames.pop(known.frame_id, [])
    signals = collections.defaultdict(list)
    undecoded = 0
    for frame in own:
        try:
            for name, value in known.decode(bytes(frame.data), decode_choices=False).items():
                signals[name].append(value)
        except cantools.database.errors.DecodeError:
            undecoded += 1
    gaps = sorted(b.timestamp - a.timestamp for a, b in zip(own, own[1:]))
    seen["messages"][known.name] = {
        "count": len(own),
        "gap_ms": gaps[len(gaps) // 2] * 1000 if gaps else None,
        "cycle_ms": known.cycle_time,
        "undecoded": undecoded,
        "as_declared": all(f.is_fd == known.is_fd and f.is_extended_id == known.is_extended_frame for f in own),
        "signals": {
            name: {"min": min(values), "max": max(values), "first": values[0], "last": values[-1]}
            for name, values in signals.items()
        },
    }
seen["unknown"] = {f"{number:X}": len(own) for number, own in frames.items()}
state = database.get_message_by_name("MixerStatus").get_signal_by_name("State")
seen["states"] = {str(value): str(text) for value, text in state.choices.items()}
print(json.dumps(seen))
