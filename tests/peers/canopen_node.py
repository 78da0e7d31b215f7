"""A node of the package canopen, on a socket that carries struct can_frame in place of a CAN interface.

Usage: canopen_node.py FD NODE EDS. Orders come as JSON lines on standard input; each is answered with a line.
"""

import json
import select
import socket
import struct
import sys
import threading

import can
import canopen

FRAME = struct.Struct("=IB3x8s")
REMOTE = 0x40000000
EXTENDED = 0x80000000
ERROR = 0x20000000


class SocketBus(can.BusABC):
    """python-can's bus over a SOCK_SEQPACKET socket."""

    def __init__(self, fd):
        self.socket = socket.socket(fileno=fd)
        self.cut = False
        self.channel_info = "socket"
        super().__init__("socket")

    def send(self, msg, timeout=None):
        if self.cut:
            return
        can_id = msg.arbitration_id | (EXTENDED if msg.is_extended_id else 0) | (REMOTE if msg.is_remote_frame else 0)
        self.socket.send(FRAME.pack(can_id, msg.dlc, bytes(msg.data).ljust(8, b"\0")))

    def _recv_internal(self, timeout):
        readable, _, _ = select.select([self.socket], [], [], timeout)
        if not readable:
            return None, False
        frame = self.socket.recv(FRAME.size)
        if len(frame) < FRAME.size:
            raise can.CanOperationError("the other side has gone")
        if self.cut:
            return None, False
        can_id, dlc, data = FRAME.unpack(frame)
        msg = can.Message(
            arbitration_id=can_id & 0x1FFFFFFF,
            is_extended_id=bool(can_id & EXTENDED),
            is_remote_frame=bool(can_id & REMOTE),
            is_error_frame=bool(can_id & ERROR),
            dlc=dlc,
            data=data[:dlc] if not can_id & REMOTE else None,
        )
        return msg, False


class Node:
    def __init__(self, fd, node_id, eds):
        self.bus = SocketBus(fd)
        self.network = canopen.Network()
        self.network.bus = self.bus
        self.network.notifier = can.Notifier(self.bus, self.network.listeners, 0.05)
        self.node = canopen.LocalNode(node_id, eds)
        self.network.add_node(self.node)
        self.node.sdo[0x2002].raw = bytes(range(100))
        self.node.tpdo.read()
        self.node.rpdo.read()
        self.received = []
        for pdo in self.node.rpdo.values():
            pdo.add_callback(self.on_rpdo)
        self.position = 0
        self.network.subscribe(0x80, self.on_sync)
        self.boot()

    def boot(self):
        self.node.sdo[0x1017].raw = 0
        self.node.nmt.state = "INITIALISING"
        self.node.nmt.state = "PRE-OPERATIONAL"

    def on_sync(self, can_id, data, timestamp):
        if self.node.nmt.state == "OPERATIONAL":
            self.position += 1
            self.node.tpdo[1]["Statusword"].raw = 0x0637
            self.node.tpdo[1]["Position actual value"].raw = -self.position
            self.node.tpdo[1].transmit()

    def on_rpdo(self, pdo):
        # The package leaves it to the device what becomes of a PDO.
        if self.node.nmt.state != "OPERATIONAL":
            return
        self.received.append({entry.name: entry.raw for entry in pdo})
        for entry in pdo:
            self.node.sdo[entry.index].raw = entry.raw

    def do(self, order):
        what = order["do"]
        if what == "emergency":
            self.node.emcy.send(order["code"], order["register"], bytes(order["data"]))
        elif what == "set":
            self.node.sdo[order["index"]].raw = order["value"]
        elif what == "cut":
            self.bus.cut = True
        elif what == "restart":
            self.bus.cut = False
            self.boot()
        elif what == "stop":
            self.node.nmt.state = "STOPPED"
        elif what == "received":
            return {"received": self.received}
        elif what == "get":
            value = self.node.sdo[order["index"]].raw
            return {"value": value.decode() if isinstance(value, bytes) else value, "state": self.node.nmt.state}
        else:
            raise ValueError(what)
        return {"state": self.node.nmt.state}


def main():
    node = Node(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    print(json.dumps({"threads": threading.active_count()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(node.do(json.loads(line))), flush=True)


main()
