"""An independent Modbus client (pymodbus).

Each line on standard input is a request as JSON: {"port", "unit", "function", "first", "count"}. Each answer is one
line of JSON: {"values": [...]} or {"exception": code} or {"error": text}, with "before" and "after", the moments of
CLOCK_MONOTONIC in nanoseconds between which the request ran.
"""

import json
import sys
import time

try:
    from pymodbus.client import ModbusTcpClient
    from pymodbus.exceptions import ModbusException
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


def main():
    clients = {}
    for line in sys.stdin:
        request = json.loads(line)
        client = clients.get(request["port"])
        if client is None:
            client = clients[request["port"]] = ModbusTcpClient("127.0.0.1", port=request["port"], timeout=3, retries=0)
            client.connect()
        print(json.dumps(ask(client, request)), flush=True)


main()
