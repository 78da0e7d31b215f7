"""The kernel's J1939 sends messages in packets: to all, and from one of its addresses to another. What stands in them at
the places of the tags is printed as JSON, by tag, in the order in which it was sent."""

import json
import random
import socket
import sys
import threading

interface = sys.argv[1]
SENDER, RECEIVER = 0x80, 0x90
rng = random.Random(7)
sent = {}


def open_as(address):
    opened = socket.socket(socket.PF_CAN, socket.SOCK_DGRAM, socket.CAN_J1939)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    opened.bind((interface, socket.J1939_NO_NAME, socket.J1939_NO_PGN, address))
    opened.settimeout(30)
    return opened


def message(size):
    # Bytes above 0xFA say that there is no value (SAE J1939-71).
    return bytes(rng.randrange(0x80) for _ in range(size))


def note(tag, data, byte, count):
    sent.setdefault(tag, []).append(int.from_bytes(data[byte : byte + count], "little"))


with open_as(SENDER) as sender, open_as(RECEIVER) as receiver:
    for _ in range(3):
        data = message(150)
        sender.sendto(data, (interface, socket.J1939_NO_NAME, 0xFECA, socket.J1939_NO_ADDR))
        note("Dm.First", data, 0, 2)
        note("Dm.Far", data, 140, 4)
    received = []

    def receive():
        # It hears what goes to all as well.
        while len(received) < 10:
            data = receiver.recv(2000)
            if len(data) == 1785:
                received.append(data)

    thread = threading.Thread(target=receive)
    thread.start()
    expected = []
    for _ in range(10):
        data = message(1785)
        expected.append(data)
        sender.sendto(data, (interface, socket.J1939_NO_NAME, 0xEF00, RECEIVER))
        note("Session.Last", data, 1783, 2)
    thread.join()
    assert received == expected, "the kernel's own"
print(json.dumps(sent))
