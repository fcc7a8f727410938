"""Frames of sluice.1, written from spec/sluice-1.md alone: a decoder, an encoder, and the proofs of a join.

Run with the folder of the vectors to check both against every one of them.
"""

import hashlib
import hmac
import json
import pathlib
import sys

REGISTRY = json.loads((pathlib.Path(__file__).parents[2] / "spec" / "registry.json").read_text("utf8"))
FRAMES = {row["number"]: row["name"] for row in REGISTRY["frames"]}
TYPES = {name: number for number, name in FRAMES.items()}
KINDS = {row["number"]: row["name"] for row in REGISTRY["kinds"]}
KIND_NUMBERS = {name: number for number, name in KINDS.items()}
PARAMETERS = {row["number"]: row["name"] for row in REGISTRY["parameters"]}
PARAMETER_NUMBERS = {name: number for number, name in PARAMETERS.items()}
DEFAULTS = {row["name"]: row["default"] for row in REGISTRY["parameters"]}
LEAST = {"max_message": 4096, "ack_bytes": 1, "max_carriers": 1}
MOST = {"ack_delay": 1000}
MAX_VALUE = 2**53 - 1


class Violation(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def malformed(text):
    return Violation("MALFORMED", text)


def write_varint(value):
    for bits, length, prefix in ((6, 1, 0), (14, 2, 1), (30, 4, 2), (62, 8, 3)):
        if value < 1 << bits:
            return (value | prefix << (length * 8 - 2)).to_bytes(length, "big")
    raise ValueError(value)


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, length):
        if self.at + length > len(self.data):
            raise malformed("ends too early")
        piece = self.data[self.at : self.at + length]
        self.at += length
        return piece

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        first = self.byte()
        length = 1 << (first >> 6)
        value = first & 0x3F
        for byte in self.take(length - 1):
            value = value << 8 | byte
        if value > MAX_VALUE:
            raise malformed("varint above 2^53 - 1")
        if len(write_varint(value)) != length:
            raise malformed("varint not in its shortest form")
        return value

    def text(self, least, most):
        length = self.varint()
        if not least <= length <= most:
            raise malformed("text too long or too short")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise malformed("text is not UTF-8") from None

    def list(self, most, read):
        count = self.varint()
        if count > most:
            raise malformed("list too long")
        return [read() for _ in range(count)]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def end(self):
        if self.at != len(self.data):
            raise malformed("bytes left over")


def read_target(reader, frame):
    kind = KINDS.get(reader.byte())
    if kind in ("TCP", "UDP"):
        host = reader.text(1 if frame == "OPEN" else 0, 255)
        return {"kind": kind, "host": host, "port": int.from_bytes(reader.take(2), "big")}
    if kind == "UNIX":
        return {"kind": kind, "path": reader.text(1, 1024)}
    if frame == "OPEN" and kind == "NAMED":
        return {"kind": kind, "name": reader.text(1, 64)}
    if frame == "OPEN" and kind == "ACCEPTED":
        return {"kind": kind, "listener": reader.varint(), "origin": reader.text(0, 300)}
    raise malformed("unknown kind")


def read_counts(reader):
    return reader.list(64, lambda: {"carrier": reader.varint(), "received": reader.varint()})


def read_hello(reader):
    if reader.byte() != 1:
        raise malformed("unknown version")
    mode = reader.byte()
    if mode > 2:
        raise malformed("unknown mode")
    frame = {"type": "HELLO", "nonce": reader.take(16).hex(), "parameters": dict(DEFAULTS)}
    seen = set()

    def parameter():
        number = reader.varint()
        if number in seen:
            raise malformed("parameter twice")
        seen.add(number)
        inner = Reader(reader.take(reader.varint()))
        name = PARAMETERS.get(number)
        if name is None:
            return
        value = inner.varint()
        inner.end()
        if value < LEAST.get(name, 0) or value > MOST.get(name, value):
            raise malformed("parameter out of range")
        frame["parameters"][name] = value

    reader.list(64, parameter)
    frame["mode"] = ("server", "new", "join")[mode]
    if mode == 0:
        frame["sessionId"] = reader.take(16).hex()
        frame["secret"] = reader.take(32).hex()
        frame["route"] = reader.text(0, 255)
        if any(not (c.isascii() and (c.isalnum() or c in "-._~")) for c in frame["route"]):
            raise malformed("route is not unreserved characters")
    if mode == 2:
        frame["sessionId"] = reader.take(16).hex()
        frame["carrier"] = reader.varint()
        frame["dead"] = read_counts(reader)
        frame["proof"] = reader.take(32).hex()
    return frame


def decode(message, max_message=524288):
    """The frame of a message, and the data that follows its header, as vectors write them."""
    if len(message) > max_message:
        raise Violation("TOO_BIG", "message above max_message")
    if not message:
        raise malformed("empty message")
    number = message[0]
    if number >= 0xC0:
        return {"type": "IGNORED", "number": number}, b""
    name = FRAMES.get(number)
    if name is None:
        raise Violation("UNKNOWN_FRAME", "unknown type")
    reader = Reader(message[1:])
    frame, data = {"type": name}, b""
    if name == "HELLO":
        frame = read_hello(reader)
    elif name == "JOINED":
        frame["carriers"] = read_counts(reader)
        frame["proof"] = reader.take(32).hex()
    elif name in ("PING", "PONG"):
        frame["opaque"] = reader.rest().hex()
        if len(message) > 33:
            raise malformed("more than 32 bytes")
    elif name == "GOAWAY":
        scope = reader.byte()
        if scope > 1:
            raise malformed("unknown scope")
        frame |= {"scope": ("carrier", "session")[scope], "limit": reader.varint()}
    elif name in ("CLOSE", "JOIN_FAILED"):
        frame |= {"code": reader.varint(), "text": reader.text(0, 300)}
    elif name == "MAX_STREAMS":
        frame["count"] = reader.varint()
    elif name == "ACK":
        frame |= {"carrier": reader.varint(), "count": reader.varint(), "delay": reader.varint()}
    else:
        frame["stream"] = reader.varint()
        if name in ("OPEN", "LISTEN"):
            frame["target"] = read_target(reader, name)
        elif name == "OPENED":
            frame["address"] = reader.text(0, 300)
        elif name == "OPEN_FAILED":
            frame |= {"code": reader.varint(), "text": reader.text(0, 300)}
        elif name in ("FIN", "CREDIT", "DATA"):
            frame["offset"] = reader.varint()
        elif name == "RESET":
            frame |= {"code": reader.varint(), "offset": reader.varint()}
        elif name == "DATAGRAM":
            frame["payload"] = reader.rest().hex()
    if name in ("OPEN", "DATA", "DATA_NEXT"):
        data = reader.rest()
        if not data and name != "OPEN":
            raise malformed("no data")
    reader.end()
    return frame, data


def write_text(text):
    data = text.encode()
    return write_varint(len(data)) + data


def write_target(target):
    kind = target["kind"]
    head = bytes([KIND_NUMBERS[kind]])
    if kind in ("TCP", "UDP"):
        return head + write_text(target["host"]) + target["port"].to_bytes(2, "big")
    if kind == "ACCEPTED":
        return head + write_varint(target["listener"]) + write_text(target["origin"])
    return head + write_text(target["path"] if kind == "UNIX" else target["name"])


def write_counts(entries):
    pairs = (write_varint(entry["carrier"]) + write_varint(entry["received"]) for entry in entries)
    return write_varint(len(entries)) + b"".join(pairs)


def write_hello(frame):
    out = bytes([1, ("server", "new", "join").index(frame["mode"])]) + bytes.fromhex(frame["nonce"])
    said = [(name, value) for name, value in frame["parameters"].items() if value != DEFAULTS[name]]
    out += write_varint(len(said))
    for name, value in said:
        data = write_varint(value)
        out += write_varint(PARAMETER_NUMBERS[name]) + write_varint(len(data)) + data
    if frame["mode"] == "server":
        out += bytes.fromhex(frame["sessionId"] + frame["secret"]) + write_text(frame["route"])
    if frame["mode"] == "join":
        out += bytes.fromhex(frame["sessionId"]) + write_varint(frame["carrier"]) + write_counts(frame["dead"])
        out += bytes.fromhex(frame["proof"])
    return out


def encode(frame, data=b""):
    """The bytes of a frame as vectors write it."""
    name = frame["type"]
    if name == "IGNORED":
        return bytes([frame["number"]])
    out = bytes([TYPES[name]])
    if name == "HELLO":
        return out + write_hello(frame)
    if name == "GOAWAY":
        out += bytes([("carrier", "session").index(frame["scope"])])
    for key in ("stream", "carrier", "code", "count", "offset", "limit", "delay"):
        if key in frame:
            out += write_varint(frame[key])
    if "target" in frame:
        out += write_target(frame["target"])
    for key in ("address", "text"):
        if key in frame:
            out += write_text(frame[key])
    if "carriers" in frame:
        out += write_counts(frame["carriers"])
    for key in ("proof", "opaque", "payload"):
        if key in frame:
            out += bytes.fromhex(frame[key])
    return out + data


def proof(role, secret, session_id, carrier, server_hello, *parts):
    """HMAC of spec §9; parts are the client's HELLO without its proof, or whole and then JOINED without its proof."""
    head = b"sluice.1 join" + bytes([0 if role == "client" else 1]) + session_id
    head += carrier.to_bytes(8, "big") + len(server_hello).to_bytes(4, "big")
    return hmac.digest(secret, head + server_hello + b"".join(parts), hashlib.sha256)


def check_conversation(conversation):
    """Every message decodes; every right proof is right, and a join that is refused as unknown has a wrong one, or no session."""
    hellos, secret, checked = {}, None, 0
    for step in conversation["messages"]:
        if "event" in step:
            continue
        message = bytes.fromhex(step["hex"])
        frame, _ = decode(message)
        if frame["type"] == "HELLO" and frame["mode"] == "server":
            hellos[step["carrier"]] = message
            secret = secret or bytes.fromhex(frame["secret"])
        elif frame["type"] == "HELLO" and frame["mode"] == "join":
            join = frame, message
            mine = proof("client", secret, bytes.fromhex(frame["sessionId"]), frame["carrier"], hellos[step["carrier"]], message[:-32])
            join_is_right = mine.hex() == frame["proof"]
            checked += 1
        elif frame["type"] == "JOINED":
            hello, hello_bytes = join
            theirs = proof("server", secret, bytes.fromhex(hello["sessionId"]), hello["carrier"], hellos[step["carrier"]], hello_bytes, message[:-32])
            assert join_is_right and theirs.hex() == frame["proof"], conversation["name"]
            checked += 1
        elif frame["type"] == "JOIN_FAILED" and "proof" in conversation["name"]:
            assert not join_is_right, conversation["name"]
    return checked


class Cut(Exception):
    """A body that ends too early."""


def read_part(body, max_message=524288):
    """The messages of a part (http-1.md, section 1)."""
    messages = []
    while True:
        try:
            reader = Reader(body)
            length = reader.varint()
        except Violation as violation:
            # A length that is not all there: the body was cut.
            if not body or len(body) < 1 << (body[0] >> 6):
                raise Cut() from None
            raise violation
        body = body[reader.at :]
        if length == 0:
            if body:
                raise malformed("bytes after the end of a part")
            return messages
        if length > max_message:
            raise Violation("TOO_BIG", "a message above the limit")
        if len(body) < length:
            raise Cut()
        messages.append(body[:length])
        body = body[length:]


def write_part(messages):
    return b"".join(write_varint(len(message)) + message for message in messages) + b"\0"


def read_answer(body, begin, max_message=524288):
    """The id of the carrier, where the answer begins one, and the messages."""
    if not body:
        raise Cut()
    if body[0] != 1:
        raise malformed("an answer without its mark")
    end = 17 if begin else 1
    if len(body) < end:
        raise Cut()
    return body[1:end], read_part(body[end:], max_message)


def check_http(vector):
    body, kind = bytes.fromhex(vector["hex"]), vector["kind"]
    most = vector.get("maxMessage", 524288)
    try:
        found, messages = (b"", read_part(body, most)) if kind == "up" else read_answer(body, kind == "begin", most)
    except (Cut, Violation) as error:
        assert getattr(error, "code", "CUT") == vector.get("error"), vector["name"]
        return
    assert [message.hex() for message in messages] == vector.get("messages"), vector["name"]
    assert found.hex() == vector.get("id", ""), vector["name"]
    before = b"" if kind == "up" else b"\1" + found
    assert before + write_part(messages) == body, vector["name"]


def main(folder):
    def load(name):
        return json.loads((pathlib.Path(folder) / name).read_text("utf8"))

    frames, refusals, varints = load("frames.json"), load("refusals.json"), load("varints.json")
    for vector in frames:
        message, data = bytes.fromhex(vector["hex"]), bytes.fromhex(vector.get("data", ""))
        assert decode(message) == (vector["frame"], data), vector["name"]
        if not vector.get("decodeOnly"):
            assert encode(vector["frame"], data) == message, vector["name"]
    for vector in refusals:
        try:
            decode(bytes.fromhex(vector["hex"]), vector.get("maxMessage", 524288))
        except Violation as violation:
            assert violation.code == vector["error"], vector["name"]
        else:
            raise AssertionError(f"not refused: {vector['name']}")
    for vector in varints:
        try:
            reader = Reader(bytes.fromhex(vector["hex"]))
            value = reader.varint()
            reader.end()
        except Violation:
            assert vector.get("error") == "MALFORMED", vector["name"]
        else:
            assert value == vector.get("value") and write_varint(value).hex() == vector["hex"], vector["name"]
    http = load("http.json")
    for vector in http:
        check_http(vector)
    conversations = load("conversations.json")
    proofs = sum(check_conversation(conversation) for conversation in conversations)
    print(f"{len(frames)} frames, {len(refusals)} refusals, {len(varints)} varints, {len(http)} bodies over HTTP, {len(conversations)} conversations, {proofs} proofs: all as the vectors say")


if __name__ == "__main__":
    main(sys.argv[1])
