"""Faults between a client and an S3 server, each a function of one exchange of the fault proxy.

Contains the faults; see fault_proxy.py for which requests they apply to, and how often. A fault that cannot take effect
(a flipped bit in an empty body) raises an error, because its test would prove nothing.
"""

from dataclasses import replace

from apex_pipeline_tests.servers.fault_proxy import Exchange, Fault, Reply

_SLOW_PIECES = 10


def refuse(status: int, code: str, message: str = "injected") -> Fault:
    """Reply with an error instead of forwarding the request, for example 503 ``SlowDown``."""

    def act(exchange: Exchange) -> None:
        exchange.reply(_error_reply(exchange, status, code, message))

    return act


def reset(exchange: Exchange) -> None:
    """Reset the connection before the request is forwarded."""
    exchange.reset()


def lose_reply(exchange: Exchange) -> None:
    """Forward the request, then close the connection without a reply."""
    exchange.ask_server()
    exchange.hang_up()


def truncate_reply(exchange: Exchange) -> None:
    """Announce the full length, send half of the body, and close the connection."""
    reply = exchange.ask_server()
    exchange.send(reply.head + _require_body(reply.body)[: len(reply.body) // 2])
    exchange.hang_up()


def drop_header(name: str) -> Fault:
    """Forward the request and send the reply without this header."""

    def act(exchange: Exchange) -> None:
        reply = exchange.ask_server()
        kept = tuple(header for header in reply.headers if header[0].lower() != name.lower())
        if kept == reply.headers:
            raise AssertionError(f"the reply has no header {name}")
        exchange.reply(replace(reply, headers=kept))

    return act


def stall_reply(seconds: float) -> Fault:
    """Send half of the body, wait, and send the rest."""

    def act(exchange: Exchange) -> None:
        reply = exchange.ask_server()
        middle = len(_require_body(reply.body)) // 2
        exchange.send(reply.head + reply.body[:middle])
        exchange.wait(seconds)
        exchange.send(reply.body[middle:])

    return act


def slow_reply(seconds: float) -> Fault:
    """Send the body in pieces over this time; no pause is longer than a tenth of it."""

    def act(exchange: Exchange) -> None:
        reply = exchange.ask_server()
        size = -(-len(_require_body(reply.body)) // _SLOW_PIECES)
        exchange.send(reply.head)
        for start in range(0, len(reply.body), size):
            exchange.wait(seconds / _SLOW_PIECES)
            exchange.send(reply.body[start : start + size])

    return act


def delay_reply(seconds: float) -> Fault:
    """Forward the request at once, and reply after a delay."""

    def act(exchange: Exchange) -> None:
        reply = exchange.ask_server()
        exchange.wait(seconds)
        exchange.reply(reply)

    return act


def corrupt_reply(exchange: Exchange) -> None:
    """Flip one bit in the middle of the reply's body."""
    reply = exchange.ask_server()
    exchange.reply(replace(reply, body=_with_one_bit_flipped(reply.body, len(reply.body) // 2)))


def corrupt_reply_at(position: int) -> Fault:
    """Flip one bit of the byte at this position of the reply's body, from 0."""

    def act(exchange: Exchange) -> None:
        reply = exchange.ask_server()
        exchange.reply(replace(reply, body=_with_one_bit_flipped(reply.body, position)))

    return act


def corrupt_request(exchange: Exchange) -> None:
    """Flip one bit in the middle of the request's body before forwarding it."""
    exchange.reply(exchange.ask_server(_with_one_bit_flipped(exchange.body, len(exchange.body) // 2)))


def fail_with_success(exchange: Exchange) -> None:
    """Reply 200 with an error in the body, as S3 does when it fails after sending the status; forward nothing."""
    exchange.reply(_error_reply(exchange, 200, "InternalError"))


def _error_reply(exchange: Exchange, status: int, code: str, message: str = "injected") -> Reply:
    document = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    body = b"" if exchange.request.method == "HEAD" else document.encode()
    return Reply(status, (("Content-Type", "application/xml"),), body, len(body))


def _with_one_bit_flipped(content: bytes, position: int) -> bytes:
    flipped = bytearray(_require_body(content))
    flipped[position] ^= 1
    return bytes(flipped)


def _require_body(body: bytes) -> bytes:
    if not body:
        raise AssertionError("the fault cannot be injected: there is no body to corrupt")
    return body


INTERNAL_ERROR = refuse(500, "InternalError")
SLOW_DOWN = refuse(503, "SlowDown")
MISSING_LENGTH = refuse(411, "MissingContentLength")
NOT_IMPLEMENTED = refuse(501, "NotImplemented")
MISSING_MD5 = refuse(400, "MissingContentMD5")
# The reply of Backblaze.
UNSUPPORTED_HEADER = refuse(
    400, "InvalidArgument", "Unsupported header 'x-amz-checksum-crc32' received for this API call."
)
