"""A node of the package canopen for Fieldbeat as its master: started, has an emergency, is cut off, comes back, goes."""

import json
import sys
import time

import canopen
from canopen.objectdictionary import ODVariable, ObjectDictionary, datatypes

NODE = 5


def dictionary():
    entries = ObjectDictionary()
    for index, name, kind, value in [
        (0x1000, "Device type", datatypes.UNSIGNED32, 0x191),
        (0x1008, "Device name", datatypes.VISIBLE_STRING, "a name of more than seven bytes"),
        (0x1017, "Producer heartbeat time", datatypes.UNSIGNED16, 0),
        (0x2000, "Temperature", datatypes.INTEGER16, -42),
    ]:
        variable = ODVariable(name, index)
        variable.data_type = kind
        variable.access_type = "rw"
        variable.default = value
        entries.add_object(variable)
    return entries


def until(what):
    for _ in range(400):
        if what():
            return True
        time.sleep(0.05)
    return False


def join(interface):
    """The node on the bus, as after power on; and whether its master started it."""
    network = canopen.Network()
    network.connect(interface="socketcan", channel=interface)
    node = network.create_node(NODE, dictionary())
    node.nmt.state = "INITIALISING"
    node.nmt.state = "PRE-OPERATIONAL"
    return network, node, until(lambda: node.nmt.state == "OPERATIONAL")


seen = {}
network, node, seen["started"] = join(sys.argv[1])
seen["heartbeat"] = node.sdo["Producer heartbeat time"].raw
node.emcy.send(0x4210, 8)
time.sleep(2)
node.nmt.stop_heartbeat()
network.disconnect()
time.sleep(4)
network, node, seen["started again"] = join(sys.argv[1])
seen["heartbeat again"] = node.sdo["Producer heartbeat time"].raw
time.sleep(2)
node.nmt.stop_heartbeat()
network.disconnect()
print(json.dumps(seen))
