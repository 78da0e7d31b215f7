"""What cantools and canopen make of DBC, EDS and DCF files: a line of JSON each way.

    {"dbc": FILE, "frames": N, "seed": S}   its messages with their signals, and N random frames of each with their values
    {"eds": FILE, "node": ID}               the objects, as index, sub-index, name and number of the data type

Numbers of values are told as texts: whole ones as they are, others as hexadecimal floats. A file that the package
cannot read is answered with {"error": …}.
"""

import json
import logging
import random
import sys
import warnings
from fractions import Fraction

import canopen
import cantools
from canopen.objectdictionary import ODArray, ODRecord, ODVariable

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
FD_LENGTHS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64]


def shown(value):
    return str(int(value)) if isinstance(value, int) else float(value).hex()


def exact(signal, raw, value):
    """What scale and offset make of a whole number as decimals, which is what they are: cantools reckons in floats."""
    if not isinstance(value, float) or not isinstance(raw, int):
        return value
    conversion = signal.conversion
    return float(raw * Fraction(str(conversion.scale)) + Fraction(str(conversion.offset)))


def type_of(signal):
    """The type that a tag of the signal has when nobody says another one."""
    conversion = signal.conversion
    scaled = conversion.scale != 1 or conversion.offset != 0
    if conversion.is_float:
        return "float32" if signal.length == 32 and not scaled else "float64"
    if scaled:
        return "float64"
    if signal.length == 1 and not signal.is_signed:
        return "bool"
    return ("int" if signal.is_signed else "uint") + ("16" if signal.length <= 16 else "32" if signal.length <= 32 else "64")


def frames_of(message, wanted, rng):
    """Random frames, and first the ones with all bits alike."""
    length = next(n for n in FD_LENGTHS if n >= message.length)
    for at in range(wanted):
        data = bytes(length) if at == 0 else b"\xff" * length if at == 1 else rng.randbytes(length)
        try:
            values = message.decode(data, decode_choices=False)
            texts = message.decode(data, decode_choices=True)
            raws = message.decode(data, decode_choices=False, scaling=False)
        except Exception:  # noqa: BLE001
            # A switch has a value for which nothing is declared, or the message cannot be decoded at all.
            continue
        named = {name: str(text) for name, text in texts.items() if not isinstance(text, (int, float))}
        signals = {signal.name: signal for signal in message.signals}
        values = {name: shown(exact(signals[name], raws[name], value)) for name, value in values.items()}
        yield {"data": data.hex(), "values": values, "texts": named}


def dbc(path, wanted, seed):
    with open(path, "rb") as file:
        text = file.read()
    try:
        text = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = text.decode("cp1252", errors="replace")
    database = cantools.database.load_string(text, database_format="dbc", strict=False)
    rng = random.Random(seed)
    messages = []
    for message in database.messages:
        short = message.length <= 64
        messages.append({
            "name": message.name,
            "id": message.frame_id,
            "extended": message.is_extended_frame,
            "signals": [{
                "name": signal.name,
                "type": type_of(signal),
                "bits": signal.length,
                "unit": (signal.unit or "").strip(),
                "has_texts": bool(signal.choices),
            } for signal in message.signals],
            "frames": list(frames_of(message, wanted, rng)) if short and message.signals else [],
        })
    return {"messages": messages}


def eds(path, node):
    objects = []
    for index, entry in canopen.import_od(path, node).items():
        if isinstance(entry, ODVariable):
            # Types that the file uses in place of objects have no section.
            if index >= 0x20:
                objects.append([index, 0, entry.name, entry.data_type])
        elif isinstance(entry, (ODRecord, ODArray)):
            objects += [[index, sub, f"{entry.name}.{part.name}", part.data_type] for sub, part in entry.items()]
    return {"objects": objects}


for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = dbc(asked["dbc"], asked["frames"], asked["seed"]) if "dbc" in asked else eds(asked["eds"], asked["node"])
    except Exception as error:  # noqa: BLE001
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(answer), flush=True)
