"""Decodes messages of a DBC file with cantools: a line of JSON each way.

dbc_decoder.py FILE
"""

import json
import sys

import cantools

database = cantools.database.load_file(sys.argv[1], strict=True)
for line in sys.stdin:
    asked = json.loads(line)
    message = database.get_message_by_frame_id(asked["id"])
    values = message.decode(bytes.fromhex(asked["data"]), decode_choices=False)
    print(json.dumps({"message": message.name, "values": values}), flush=True)
