"""python-can hears so many frames from others, prints each as can-utils writes it, and sends as many of its own."""

import sys

import can

interface, count = sys.argv[1], int(sys.argv[2])
OWN = [
    can.Message(arbitration_id=0x321, data=b"\x01\x02\x03", is_extended_id=False),
    can.Message(arbitration_id=0x18FEF100, data=bytes(8), is_extended_id=True),
    can.Message(arbitration_id=0x100, is_remote_frame=True, is_extended_id=False),
    can.Message(arbitration_id=0x101, data=bytes(range(64)), is_fd=True, bitrate_switch=False, is_extended_id=False),
]


def written(message):
    number = f"{message.arbitration_id:08X}" if message.is_extended_id else f"{message.arbitration_id:03X}"
    if message.is_remote_frame:
        return f"{number}#R"
    flags = f"#{2 * message.error_state_indicator + message.bitrate_switch}" if message.is_fd else ""
    return f"{number}#{flags}{message.data.hex().upper()}"


with can.Bus(interface="socketcan", channel=interface, fd=True) as bus:
    for _ in range(count):
        message = bus.recv(timeout=30)
        if message is None:
            sys.exit("no frame came")
        print(written(message), flush=True)
    for message in OWN:
        bus.send(message)
