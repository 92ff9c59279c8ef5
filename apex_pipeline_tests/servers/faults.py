"""What can go wrong between a client and an S3 server, each as one thing to do to an exchange of the fault proxy.

Here belong the faults. Not here: which request they are for, and how often (``fault_proxy.py``). A fault that finds
nothing to spoil (a bit of an empty body) raises: a test of it would prove nothing.
"""

from dataclasses import replace

from apex_pipeline_tests.servers.fault_proxy import Exchange, Fault, Reply

_SLOW_PIECES = 10


def refuse(status: int, code: str) -> Fault:
    """Answer with an error instead of asking the server, for example 503 ``SlowDown``."""

    def act(exchange: Exchange) -> None:
        exchange.reply(_error_reply(exchange, status, code))

    return act


def reset(exchange: Exchange) -> None:
    """Break the connection before anything is passed on."""
    exchange.reset()


def lose_reply(exchange: Exchange) -> None:
    """Let the server do what was asked, then close without a word."""
    exchange.ask_server()
    exchange.hang_up()


def truncate_reply(exchange: Exchange) -> None:
    """Announce the whole body, send half of it, close."""
    reply = exchange.ask_server()
    exchange.send(reply.head + _something(reply.body)[: len(reply.body) // 2])
    exchange.hang_up()


def stall_reply(seconds: float) -> Fault:
    """Send half of the body, wait so long, send the rest."""

    def act(exchange: Exchange) -> None:
        reply = exchange.ask_server()
        middle = len(_something(reply.body)) // 2
        exchange.send(reply.head + reply.body[:middle])
        exchange.wait(seconds)
        exchange.send(reply.body[middle:])

    return act


def slow_reply(seconds: float) -> Fault:
    """Send the body in pieces spread over so long; it never stands still for more than a tenth of that."""

    def act(exchange: Exchange) -> None:
        reply = exchange.ask_server()
        size = -(-len(_something(reply.body)) // _SLOW_PIECES)
        exchange.send(reply.head)
        for start in range(0, len(reply.body), size):
            exchange.wait(seconds / _SLOW_PIECES)
            exchange.send(reply.body[start : start + size])

    return act


def delay_reply(seconds: float) -> Fault:
    """Ask the server at once, answer only after so long."""

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
    """Flip one bit of this byte of the reply's body, from 0."""

    def act(exchange: Exchange) -> None:
        reply = exchange.ask_server()
        exchange.reply(replace(reply, body=_with_one_bit_flipped(reply.body, position)))

    return act


def corrupt_request(exchange: Exchange) -> None:
    """Flip one bit in the middle of the request's body before the server gets it."""
    exchange.reply(exchange.ask_server(_with_one_bit_flipped(exchange.body, len(exchange.body) // 2)))


def fail_with_success(exchange: Exchange) -> None:
    """Answer 200 with an error as body, as S3 does when it fails after it had to begin the reply; nothing is done."""
    exchange.reply(_error_reply(exchange, 200, "InternalError"))


def _error_reply(exchange: Exchange, status: int, code: str) -> Reply:
    document = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>of the proxy</Message></Error>'
    )
    body = b"" if exchange.request.method == "HEAD" else document.encode()
    return Reply(status, (("Content-Type", "application/xml"),), body, len(body))


def _with_one_bit_flipped(content: bytes, position: int) -> bytes:
    flipped = bytearray(_something(content))
    flipped[position] ^= 1
    return bytes(flipped)


def _something(body: bytes) -> bytes:
    if not body:
        raise AssertionError("the fault was asked for where there is no body to spoil")
    return body


INTERNAL_ERROR = refuse(500, "InternalError")
SLOW_DOWN = refuse(503, "SlowDown")
MISSING_LENGTH = refuse(411, "MissingContentLength")
NOT_IMPLEMENTED = refuse(501, "NotImplemented")
MISSING_MD5 = refuse(400, "MissingContentMD5")
