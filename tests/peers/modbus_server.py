"""pymodbus's server with the contents of contents.json, on a free port of loopback.

Prints its port as one line when it accepts connections. Addresses beyond a table are answered with exception 02,
units that are not there with exception 0B, or not at all when the first argument is "silent".

With "rtu-over-tcp": frames of RTU on TCP; units that are not there stay silent.
With the arguments "rtu" or "ascii" and a port's path: on that serial port; units that are not there stay silent.

An argument such as "lacks=6,22" takes functions away: requests of these are answered with exception 01.
"""

import asyncio
import json
import logging
import pathlib
import sys

try:
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.framer import FramerType
    from pymodbus.pdu import DecodePDU, ExceptionResponse
    from pymodbus.server import ModbusSerialServer, ModbusTcpServer
except ImportError:
    sys.exit("the Python package pymodbus is missing: make test installs it, or run pip install pymodbus pyserial")


def device(tables):
    # pymodbus adds one to the address on the wire.
    block = {name: ModbusSequentialDataBlock(1, values) for name, values in tables.items()}
    return ModbusDeviceContext(
        co=block["coils"], di=block["discrete_inputs"], hr=block["holding_registers"], ir=block["input_registers"]
    )


async def refuse(request, _context):
    return ExceptionResponse(request.function_code, 1)


async def main():
    # It dumps its last frames for each unit that is not there, which is what some tests ask for.
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    for argument in [a for a in sys.argv[1:] if a.startswith("lacks=")]:
        sys.argv.remove(argument)
        for function in argument.removeprefix("lacks=").split(","):
            DecodePDU.pdu_table[int(function)][0].update_datastore = refuse
    contents = json.loads((pathlib.Path(__file__).parent / "contents.json").read_text())
    devices = {int(unit): device(tables) for unit, tables in contents["units"].items()}
    context = ModbusServerContext(devices=devices, single=False)
    if sys.argv[1:2] in (["rtu"], ["ascii"]):
        framer = FramerType.RTU if sys.argv[1] == "rtu" else FramerType.ASCII
        serving = ModbusSerialServer(
            context, framer=framer, port=sys.argv[2], baudrate=115200, ignore_missing_devices=True
        )
        task = asyncio.ensure_future(serving.serve_forever())
        while not serving.transport:
            if task.done():
                return task.result()
            await asyncio.sleep(0.01)
        print(0, flush=True)
        return await task
    framed = sys.argv[1:] == ["rtu-over-tcp"]
    silent = framed or sys.argv[1:] == ["silent"]
    framer = FramerType.RTU if framed else FramerType.SOCKET
    server = ModbusTcpServer(context, framer=framer, address=("127.0.0.1", 0), ignore_missing_devices=silent)
    serving = asyncio.ensure_future(server.serve_forever())
    while not (server.transport and server.transport.sockets):
        if serving.done():
            return serving.result()
        await asyncio.sleep(0.01)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await serving


asyncio.run(main())
