"""Writes a random DBC file, and random frames with what cantools makes of them.

    vectors.py DIR SEED FRAMES

DIR/random.dbc; DIR/signals.txt: MESSAGE.SIGNAL a line; DIR/frames.txt: id, x or s (extended or standard), data in
hexadecimal, then NAME=VALUE for each signal that cantools finds in the frame: whole numbers as they are, others as
hexadecimal floats.
"""

import random
import sys
from fractions import Fraction
from pathlib import Path

import cantools

directory, seed, wanted = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
MESSAGES = 60


def bits_of(start, bits, order):
    """The places of a field's bits, counted from the least significant of the first byte."""
    at = start
    for _ in range(bits):
        yield at
        at = at + 1 if order == 1 else at - 1 if at % 8 else at + 15


def place(size, bits, taken):
    """A start bit in either byte order so that the bits lie within the frame, and on none that is taken."""
    for _ in range(40):
        first = rng.randrange(0, size * 8 - bits + 1)
        start, order = (first, 1) if rng.random() < 0.5 else (first // 8 * 8 + 7 - first % 8, 0)
        own = set(bits_of(start, bits, order))
        if not own & taken:
            taken |= own
            return start, order
    return None


def line(name, mux, size, bits, taken, signed=None, scale=None, offset=None):
    """A signal, or nothing when there is no room for it."""
    found = place(size, bits, taken) if bits <= size * 8 else None
    if found is None:
        return ""
    start, order = found
    sign = rng.choice("+-") if signed is None else signed
    if scale is None:
        scale = rng.choice(["1", "1", "1", "0.1", "0.25", "-0.5", "1e-3", "2" if bits <= 48 else "1"])
        offset = rng.choice(["0", "0", "-40", "100.5", "7" if bits <= 48 else "0"])
        # A whole number beyond 53 bits is no float, which is what a scaled one becomes.
        if bits > 53:
            scale, offset = "1", "0"
    return f' SG_ {name} {mux}: {start}|{bits}@{order}{sign} ({scale},{offset}) [0|0] "" Node\n'


text = 'VERSION ""\n\nNS_ :\n\nBS_:\n\nBU_: Node\n\n'
types, ranges = "", ""
for number in range(MESSAGES):
    extended = rng.random() < 0.5
    frame_id = rng.randrange(0x20000) * 4096 + number if extended else 16 * number + rng.randrange(16)
    written = frame_id | 1 << 31 if extended else frame_id
    size = rng.choice([8, 8, 8, rng.randrange(2, 9), rng.choice([12, 24, 64])])
    text += f"BO_ {written} M{number}: {size} Node\n"
    common = set()
    kind = rng.choice(["none", "simple", "simple", "extended"])
    if kind != "none":
        text += line("S", "M ", size, 3, common, "+", "1", "0")
    if kind == "extended":
        # A second switch, within some cases of the first.
        second = line("T", "m1M ", size, 2, common, "+", "1", "0")
        text += second
        ranges += f"SG_MUL_VAL_ {written} T S 1-2, 5-5;\n" if second else ""
    float_line = line("F", "", size, 32, common, "-", "1", "0") if size >= 8 and rng.random() < 0.3 else ""
    types += f"SIG_VALTYPE_ {written} F : 1;\n" if float_line else ""
    double_line = line("D", "", size, 64, common, "-", "1", "0") if size > 8 or kind == "none" else ""
    types += f"SIG_VALTYPE_ {written} D : 2;\n" if double_line else ""
    text += float_line + double_line
    for at in range(rng.randrange(1, 9)):
        text += line(f"P{at}", "", size, rng.randrange(1, rng.choice([9, 17, 33, 65])), common)
    if kind == "simple":
        # Fields of different cases may lie on the same bits.
        cases = [set(common) for _ in range(5)]
        for at in range(rng.randrange(1, 10)):
            case = rng.randrange(5)
            text += line(f"X{at}", f"m{case} ", size, rng.randrange(1, 33), cases[case])
    if kind == "extended" and second:
        of_first, of_second = set(common), [set() for _ in range(4)]
        for at in range(rng.randrange(2, 6)):
            low = rng.randrange(7)
            field = line(f"Y{at}", f"m{low} ", size, rng.randrange(1, 17), of_first)
            ranges += f"SG_MUL_VAL_ {written} Y{at} S {low}-{min(7, low + rng.randrange(3))};\n" if field else ""
            text += field
        for at in range(rng.randrange(1, 4)):
            low = rng.randrange(4)
            taken = of_first | of_second[low]
            field = line(f"Z{at}", f"m{low} ", size, rng.randrange(1, 17), taken)
            of_second[low] |= taken
            ranges += f"SG_MUL_VAL_ {written} Z{at} T {low}-{low};\n" if field else ""
            text += field
    text += "\n"
text += types + ranges
(directory / "random.dbc").write_text(text)

database = cantools.database.load_string(text, database_format="dbc", strict=False)
names = [f"{message.name}.{signal.name}" for message in database.messages for signal in message.signals]
(directory / "signals.txt").write_text("\n".join(names) + "\n")


def shown(value):
    return str(value) if isinstance(value, int) else value.hex()


def exact(signal, raw, value):
    """What scale and offset make of a whole number as decimals, which is what they are: cantools reckons in floats."""
    if not isinstance(value, float) or not isinstance(raw, int):
        return value
    conversion = signal.conversion
    return float(raw * Fraction(str(conversion.scale)) + Fraction(str(conversion.offset)))


made, refused = 0, 0
# One may have got no room for any signal.
messages = [message for message in database.messages if message.signals]
with open(directory / "frames.txt", "w") as out:
    while made < wanted:
        message = rng.choice(messages)
        data = rng.randbytes(message.length)
        try:
            values = message.decode(data, decode_choices=False)
            raws = message.decode(data, decode_choices=False, scaling=False)
        except cantools.database.DecodeError:
            # A switch has a value for which nothing is declared: cantools gives such a frame up as a whole.
            refused += 1
            continue
        signals = {signal.name: signal for signal in message.signals}
        values = {name: exact(signals[name], raws[name], value) for name, value in values.items()}
        values = " ".join(f"{name}={shown(value)}" for name, value in values.items())
        out.write(f"{message.frame_id:x} {'x' if message.is_extended_frame else 's'} {data.hex()} {values}\n")
        made += 1
print(f"{len(names)} signals of {MESSAGES} messages, {made} frames, {refused} with an unknown switch")
