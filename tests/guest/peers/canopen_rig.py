"""A node and a master of the package canopen, each with a socket of its own: transfers, heartbeat, state, emergency."""

import json
import queue
import sys

import canopen
from canopen.objectdictionary import ODVariable, ObjectDictionary, datatypes

NODE = 5


def dictionary():
    entries = ObjectDictionary()
    for index, name, kind in [
        (0x1000, "Device type", datatypes.UNSIGNED32),
        (0x1008, "Device name", datatypes.VISIBLE_STRING),
        (0x1017, "Producer heartbeat time", datatypes.UNSIGNED16),
        (0x2000, "Temperature", datatypes.INTEGER16),
    ]:
        variable = ODVariable(name, index)
        variable.data_type = kind
        variable.access_type = "rw"
        entries.add_object(variable)
    return entries


def network(interface):
    it = canopen.Network()
    it.connect(interface="socketcan", channel=interface)
    return it


field, office = network(sys.argv[1]), network(sys.argv[1])
local = field.create_node(NODE, dictionary())
remote = office.add_node(NODE, dictionary())
emergencies = queue.Queue()
remote.emcy.add_callback(lambda error: emergencies.put([error.code, error.register]))

local.sdo["Device name"].raw = "a name of more than seven bytes"
local.sdo["Temperature"].raw = -42
local.sdo["Producer heartbeat time"].raw = 100
local.nmt.state = "PRE-OPERATIONAL"
remote.nmt.wait_for_heartbeat(timeout=20)
seen = {"before": remote.nmt.state}
seen["expedited"] = remote.sdo["Temperature"].raw
seen["segmented"] = remote.sdo["Device name"].raw
remote.sdo["Temperature"].raw = 1234
seen["written"] = local.sdo["Temperature"].raw
remote.nmt.state = "OPERATIONAL"
remote.nmt.wait_for_heartbeat(timeout=20)
seen["after"] = remote.nmt.state
local.emcy.send(0x4210, 8)
seen["emergency"] = emergencies.get(timeout=20)
field.disconnect()
office.disconnect()
print(json.dumps(seen))
