"""Makes contents.json and contents.txt: what the peers' servers hold, and what a gateway must read there.

The values are packed with Python's struct and its codecs, independently of the gateway's decoder. Orders, with A the most
significant byte of the value: ABCD as it is; DCBA all bytes reversed; BADC bytes swapped in each register; CDAB
registers reversed.

contents.json: {"units": {unit: {table: [values]}}, "tags": [...]}. A tag has the keys of a tag file, its address
without the link ("unit:function:register:count", offsets from 0), and "expected"; with "status" instead where the
bytes are no value of the type. contents.txt: lines of unit, function, number of values, values.
"""

import json
import pathlib
import random
import struct
from datetime import datetime, timezone
from fractions import Fraction

ORDERS = ["ABCD", "DCBA", "BADC", "CDAB"]
TABLES = {1: "coils", 2: "discrete_inputs", 3: "holding_registers", 4: "input_registers"}
FILL = 0xA5C3  # in gaps: a value read there is seen

INTEGERS = {
    "int16": ("h", -(2**15), 2**15 - 1),
    "uint16": ("H", 0, 2**16 - 1),
    "int32": ("i", -(2**31), 2**31 - 1),
    "uint32": ("I", 0, 2**32 - 1),
    "int64": ("q", -(2**63), 2**63 - 1),
    "uint64": ("Q", 0, 2**64 - 1),
}
FLOATS = {
    "float32": ("f", [0.0, 1.5, -273.15, 3.4028234663852886e38, 1.401298464324817e-45]),
    "float64": ("d", [0.0, 6.02214076e23, -1e-300, 1.7976931348623157e308, 5e-324]),
}
STRINGS = ["BOILER 7", "odd", "Kühlung °C", "", "exactly sixteen!"]


def ordered(raw, order):
    """Registers of a value given as big-endian bytes."""
    words = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if order in ("DCBA", "CDAB"):
        words.reverse()
    if order in ("DCBA", "BADC"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


def text_registers(raw, registers, order):
    raw = raw.ljust(registers * 2, b"\0")
    words = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if order in ("DCBA", "BADC"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


class Area:
    """One table of registers of one unit, being filled."""

    def __init__(self, unit, function, seed, tags):
        self.unit, self.function, self.tags = unit, function, tags
        self.random = random.Random(seed)
        self.registers = []

    def add(self, label, registers, data_type, order=None, **more):
        if self.random.random() < 0.25:
            self.registers += [FILL] * self.random.randint(1, 4)
        first = len(self.registers)
        self.registers += registers
        self.tag(label, first, len(registers), data_type, order, **more)
        return first

    def tag(self, label, first, count, data_type, order=None, **more):
        name = f"u{self.unit}.f{self.function}.{label}.{order or 'default'}.{first}"
        tag = {"name": name, "address": f"{self.unit}:{self.function}:{first}:{count}", "data_type": data_type}
        if order:
            tag["byte_order"] = order
        self.tags.append(tag | more)

    def fill(self):
        for order in [None] + ORDERS:
            self.numbers(order)
            self.bcd(order)
            self.strings(order)
            self.bits(order)
            self.arrays(order)
            self.scaled(order)
            self.parts(order)
            self.encodings(order)
            self.dates(order)
            self.no_values(order)
        self.registers += [FILL] * 3

    def numbers(self, order):
        for name, (code, low, high) in INTEGERS.items():
            for value in [low, high, self.random.randint(low, high)]:
                self.add(name, ordered(struct.pack(">" + code, value), order), name, order, expected=value)
        for name, (code, values) in FLOATS.items():
            some = struct.unpack(">" + code, struct.pack(">" + code, self.random.uniform(-1e6, 1e6)))[0]
            for value in [*values, some]:
                raw = struct.pack(">" + code, value)
                exact = struct.unpack(">" + code, raw)[0]
                self.add(name, ordered(raw, order), name, order, expected=exact)

    def bcd(self, order):
        for registers in (1, 2, 4):
            digits = registers * 4
            name = f"bcd{registers * 16}"
            for value in [10**digits - 1, self.random.randrange(10**digits), 0]:
                raw = bytes.fromhex(str(value).zfill(digits))
                self.add(name, ordered(raw, order), name, order, expected=value)
            bad = bytes.fromhex("9" * (digits - 1) + "A")
            self.add(name, ordered(bad, order), name, order, status="BadDecodingError")

    def strings(self, order):
        for value in STRINGS:
            self.add("string", text_registers(value.encode(), 8, order), "string", order, expected=value)
        self.add("string", text_registers(b"ends\0here", 8, order), "string", order, expected="ends")
        bad = text_registers(b"\xff\xfe bad", 8, order)
        self.add("string", bad, "string", order, encoding="utf-8", status="BadDecodingError")
        self.add("string", text_registers(b"\xff" * 16, 8, order), "string", order, status="BadDecodingError")

    def encodings(self, order):
        for encoding, value in [("iso-8859-1", "Kühlung 5 °C"), ("windows-1252", "5 € – groß"), ("ascii", "PUMP 3")]:
            registers = text_registers(value.encode(encoding), 8, order)
            self.add(encoding, registers, "string", order, encoding=encoding, expected=value)
        # What is no UTF-8 is read as Windows-1252, where nothing else is said; spaces are padding.
        registers = text_registers("Größe µm –".encode("cp1252").ljust(16), 8, order)
        self.add("fallback", registers, "string", order, expected="Größe µm –")
        self.add("ascii", text_registers(b"\xb0C", 8, order), "string", order, encoding="ascii", status="BadDecodingError")

    def parts(self, order):
        word = self.random.randrange(0x8000, 0x10000)
        high, low = word >> 8, word & 0xFF
        first = len(self.registers)
        self.registers += ordered(struct.pack(">H", word), order)
        for byte, value in [("high", high), ("low", low)]:
            self.tag("uint8" + byte, first, 1, "uint8", order, byte=byte, expected=value)
            signed = struct.unpack("b", bytes([value]))[0]
            self.tag("int8" + byte, first, 1, "int8", order, byte=byte, expected=signed)
        for value in [-(2**23), 2**23 - 1, self.random.randint(-(2**23), 2**23 - 1)]:
            raw = bytes([self.random.randrange(256)]) + (value % 2**24).to_bytes(3, "big")
            self.add("int24", ordered(raw, order), "int24", order, expected=value)
            self.add("uint24", ordered(raw, order), "uint24", order, expected=value % 2**24)
        for value in [0.0, 1.5, -65504.0, 5.960464477539063e-08, self.random.uniform(-100, 100)]:
            raw = struct.pack(">e", value)
            self.add("float16", ordered(raw, order), "float16", order, expected=struct.unpack(">e", raw)[0])
        for value in [0, 2**128 - 1, self.random.getrandbits(128)]:
            self.add("uint128", ordered(value.to_bytes(16, "big"), order), "uint128", order, expected=str(value))
        value = -self.random.getrandbits(127)
        self.add("int128", ordered(value.to_bytes(16, "big", signed=True), order), "int128", order, expected=str(value))

    def dates(self, order):
        at = datetime.fromtimestamp(self.random.randrange(946_684_800, 2**32), timezone.utc)
        seconds, millis = int(at.timestamp()), self.random.randrange(1000)
        local, fraction = at.strftime("%Y-%m-%dT%H:%M:%S"), f".{millis:03}"
        if at.year >= 2090:
            at = at.replace(year=2026, month=2, day=28)
            local = at.strftime("%Y-%m-%dT%H:%M:%S")
        parts = [at.year % 100, at.month, at.day, at.hour, at.minute, at.second]
        bcd = bytes.fromhex("".join(f"{part:02}" for part in parts))
        weekday = at.isoweekday()
        cp56 = struct.pack("<H", at.second * 1000 + millis)
        cp56 += bytes([at.minute, at.hour, weekday << 5 | at.day, at.month, at.year % 100, 0])
        utc = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        for name, raw, value in [
            ("datetime_unix32", struct.pack(">I", seconds), utc + "Z"),
            ("datetime_unix64", struct.pack(">Q", seconds), utc + "Z"),
            ("datetime_unix64_ms", struct.pack(">Q", seconds * 1000 + millis), utc + fraction + "Z"),
            ("datetime_iec60870", cp56[::-1], local + fraction),
            ("datetime_registers", struct.pack(">6H", at.year, *parts[1:]), local),
            ("datetime_bytes", bytes(parts), local),
            ("datetime_bcd", bcd, local),
            ("datetime_s7", bcd + bytes.fromhex(f"{millis:03}{weekday % 7 + 1}"), local + fraction),
        ]:
            self.add(name, ordered(raw, order), name, order, expected=value)
        invalid = cp56[:2] + bytes([cp56[2] | 0x80]) + cp56[3:]
        self.add("invalid", ordered(invalid[::-1], order), "datetime_iec60870", order, status="BadDataUnavailable")
        self.add("wrong", ordered(bytes([26, 13, 1, 0, 0, 0]), order), "datetime_bytes", order, status="BadDecodingError")

    def no_values(self, order):
        none = "BadDataUnavailable"
        for name, raw in [("int16", b"\x80\0"), ("uint16", b"\xff\xff"), ("int32", b"\x80\0\0\0"),
                          ("uint32", b"\xff" * 4), ("int64", b"\x80" + bytes(7)), ("uint64", b"\xff" * 8)]:
            self.add("none", ordered(raw, order), name, order, not_available="sunspec", status=none)
        self.add("none", ordered(struct.pack(">h", -999), order), "int16", order, not_available=[-999, -998],
                 scale=0.1, status=none)
        self.add("none", [0] * 4, "string", order, not_available="sunspec", status=none)
        for name, code in [("float16", "e"), ("float32", "f"), ("float64", "d")]:
            for value in [float("nan"), float("-inf")]:
                self.add("none", ordered(struct.pack(">" + code, value), order), name, order, status=none)

    def bits(self, order):
        word = self.random.randrange(1, 0xFFFF)
        first = len(self.registers)
        self.registers += ordered(struct.pack(">H", word), order)
        for bit in range(16):
            self.tag(f"bit{bit}", first, 1, "bool", order, bit=bit, expected=bool(word >> bit & 1))

    def arrays(self, order):
        for name, (code, low, high) in INTEGERS.items():
            values = [low, high] + [self.random.randint(low, high) for _ in range(5)]
            registers = [r for value in values for r in ordered(struct.pack(">" + code, value), order)]
            self.add("array", registers, name, order, array=len(values), expected=values)
        for name, (code, _) in FLOATS.items():
            raws = [struct.pack(">" + code, self.random.uniform(-1e3, 1e3)) for _ in range(6)]
            values = [struct.unpack(">" + code, raw)[0] for raw in raws]
            registers = [r for raw in raws for r in ordered(raw, order)]
            self.add("array", registers, name, order, array=len(values), expected=values)
        values = [self.random.randrange(10**8) for _ in range(4)]
        registers = [r for value in values for r in ordered(bytes.fromhex(f"{value:08}"), order)]
        self.add("array", registers, "bcd32", order, array=len(values), expected=values)

    def scaled(self, order):
        for data_type, scale, offset in [("int16", 0.1, 0.0), ("uint32", 0.001, -40.0), ("float32", 2.0, 0.5)]:
            code = {"int16": "h", "uint32": "I", "float32": "f"}[data_type]
            raw = struct.pack(">" + code, 12.25 if code == "f" else self.random.randint(0, 30_000))
            value = struct.unpack(">" + code, raw)[0]
            # As decimals, which scale and offset are.
            value = float(Fraction(value) * Fraction(str(scale)) + Fraction(str(offset)))
            self.add("scaled", ordered(raw, order), data_type, order, scale=scale, offset=offset, expected=value)
        values = [self.random.randint(-1000, 1000) for _ in range(3)]
        registers = [r for value in values for r in ordered(struct.pack(">h", value), order)]
        expected = [value * 0.5 + 1.0 for value in values]
        self.add("scaled", registers, "int16", order, array=3, scale=0.5, offset=1.0, expected=expected)
        raw = bytes.fromhex("1234")
        self.add("scaled", ordered(raw, order), "bcd16", order, scale=0.25, expected=1234 * 0.25)


def bits(unit, function, seed, tags):
    values = [random.Random(seed + i).randrange(2) for i in range(100)]
    for at in [0, 1, 7, 8, 9, 15, 16, 63, 99]:
        address = f"{unit}:{function}:{at}:1"
        tags.append({"name": f"u{unit}.f{function}.bool.{at}", "address": address, "data_type": "bool",
                     "expected": bool(values[at])})
    for first, count in [(3, 20), (40, 60)]:
        address = f"{unit}:{function}:{first}:{count}"
        expected = [bool(value) for value in values[first : first + count]]
        tags.append({"name": f"u{unit}.f{function}.array.{first}", "address": address, "data_type": "bool",
                     "array": count, "expected": expected})
    return values


def main():
    units, tags = {}, []
    for unit in (1, 5):
        tables = units[str(unit)] = {}
        for function in (1, 2):
            tables[TABLES[function]] = bits(unit, function, 1000 * unit + 100_000 * function, tags)
        for function in (3, 4):
            area = Area(unit, function, 10 * unit + function, tags)
            area.fill()
            tables[TABLES[function]] = area.registers
    here = pathlib.Path(__file__).parent
    lines = ['{ "units": {']
    lines.append(",\n".join(f'  "{unit}": {json.dumps(tables)}' for unit, tables in units.items()))
    lines.append('}, "tags": [')
    lines.append(",\n".join("  " + json.dumps(tag, ensure_ascii=False) for tag in tags))
    lines.append("] }\n")
    (here / "contents.json").write_text("\n".join(lines))
    with open(here / "contents.txt", "w") as out:
        for unit, tables in units.items():
            for function, table in TABLES.items():
                values = tables[table]
                print(unit, function, len(values), *values, file=out)


main()
