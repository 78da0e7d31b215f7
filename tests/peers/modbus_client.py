"""An independent Modbus client (pymodbus).

Each line on standard input is a request as JSON: {"port", "unit", "function", "first", "count"}, where the port is
one of TCP on loopback or the path of a serial port, then with "framing": "rtu" or "ascii". Each answer is one
line of JSON: {"values": [...]} or {"exception": code} or {"error": text}, with "before" and "after", the moments of
CLOCK_MONOTONIC in nanoseconds between which the request ran.
"""

import json
import sys
import time

try:
    from pymodbus.client import ModbusSerialClient, ModbusTcpClient
    from pymodbus.exceptions import ModbusException
    from pymodbus.framer import FramerType
except ImportError:
    sys.exit("the Python package pymodbus is missing: make test installs it, or run pip install pymodbus")


def ask(client, request):
    read = {
        1: client.read_coils,
        2: client.read_discrete_inputs,
        3: client.read_holding_registers,
        4: client.read_input_registers,
    }[request["function"]]
    before = time.monotonic_ns()
    try:
        reply = read(request["first"], count=request["count"], device_id=request["unit"])
    except ModbusException as error:
        return {"error": str(error)}
    after = time.monotonic_ns()
    if reply.isError():
        return {"exception": reply.exception_code, "before": before, "after": after}
    values = [int(bit) for bit in reply.bits[: request["count"]]] if request["function"] <= 2 else reply.registers
    return {"values": values, "before": before, "after": after}


def new_client(request):
    port = request["port"]
    if isinstance(port, int):
        return ModbusTcpClient("127.0.0.1", port=port, timeout=3, retries=0)
    framer = FramerType.RTU if request["framing"] == "rtu" else FramerType.ASCII
    return ModbusSerialClient(port, framer=framer, baudrate=115200, timeout=3, retries=0)


def main():
    clients = {}
    for line in sys.stdin:
        request = json.loads(line)
        client = clients.get(request["port"])
        if client is None:
            client = clients[request["port"]] = new_client(request)
            client.connect()
        print(json.dumps(ask(client, request)), flush=True)


main()
