"""A master of the package canopen reads, writes and supervises the plant's node by the plant's EDS.

plant_canopen.py INTERFACE
"""

import json
import queue
import sys

import canopen

from plant import Plant

interface, node = sys.argv[1], 9
seen = {}


def failed(what):
    try:
        what()
    except canopen.SdoAbortedError as error:
        return error.code
    return None


network = canopen.Network()
network.connect(interface="socketcan", channel=interface)
options = ["--canopen", interface, "--canopen-node", str(node), "--can-fault", "pump:emergency=4210@4..8"]
with Plant(*options) as plant:
    pump = canopen.RemoteNode(node, plant.file("pump.eds"))
    emergencies = queue.Queue()
    network.add_node(pump)
    pump.emcy.add_callback(lambda error: emergencies.put([error.code, error.register]))
    pump.nmt.wait_for_heartbeat(timeout=20)
    seen["first_state"] = pump.nmt.state
    # Expedited, segmented, by block.
    seen["vendor"] = pump.sdo["Identity object"]["Vendor-ID"].raw
    seen["name"] = pump.sdo["Manufacturer device name"].raw
    with pump.sdo["Log"].open("rb", block_transfer=True) as log:
        seen["log"] = log.read().hex()
    seen["log_by_segments"] = pump.sdo.upload(0x2201, 0).hex()
    pump.sdo["Note"].raw = "a note of more than seven bytes"
    seen["note"] = pump.sdo["Note"].raw
    data = bytes(i * 7 % 256 for i in range(1999))
    with pump.sdo["Recipe data"].open("wb", size=len(data), block_transfer=True) as recipe:
        recipe.write(data)
    seen["block_came_back"] = pump.sdo.upload(0x2202, 0) == data
    seen["aborts"] = [
        failed(lambda: pump.sdo.upload(0x5000, 0)),
        failed(lambda: pump.sdo.upload(0x2000, 99)),
        failed(lambda: pump.sdo.download(0x2000, 1, bytes(4))),
        failed(lambda: pump.sdo.download(0x2100, 0, bytes(4))),
    ]
    # PDOs as the node has them, and as the master maps them.
    pump.tpdo.read()
    pump.rpdo.read()
    pump.nmt.state = "OPERATIONAL"
    seen["tpdo1"] = [variable.name for variable in pump.tpdo[1]]
    seen["tpdo1_came"] = pump.tpdo[1].wait_for_reception(timeout=20) is not None
    seen["temperature"] = pump.tpdo[1]["Process.Temperature"].raw
    network.sync.start(0.05)
    seen["tpdo2_came"] = pump.tpdo[2].wait_for_reception(timeout=20) is not None
    seen["strokes"] = pump.tpdo[2]["Process.Strokes"].raw
    network.sync.stop()
    pump.rpdo[1]["Setpoint"].raw = -321
    pump.rpdo[1]["Enable"].raw = 1
    pump.rpdo[1].transmit()
    seen["setpoint"] = pump.sdo["Setpoint"].raw
    pump.nmt.state = "PRE-OPERATIONAL"
    mapped = pump.tpdo[1]
    mapped.clear()
    mapped.add_variable("Setpoint")
    mapped.add_variable("Process", "Strokes")
    mapped.event_timer = 50
    mapped.enabled = True
    mapped.save()
    pump.nmt.state = "OPERATIONAL"
    seen["mapped_came"] = mapped.wait_for_reception(timeout=20) is not None
    seen["mapped"] = [mapped[0].raw, len(mapped.data)]
    seen["emergencies"] = [emergencies.get(timeout=20), emergencies.get(timeout=20)]
    seen["history"] = pump.sdo["Pre-defined error field"][1].raw
    states = queue.Queue()
    pump.nmt.add_heartbeat_callback(states.put)
    pump.nmt.state = "RESET"
    while states.get(timeout=20) != 0:
        pass
    seen["after_reset"] = pump.sdo["Setpoint"].raw
network.disconnect()
print(json.dumps(seen))
