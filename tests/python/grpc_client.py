"""A gRPC client: calls of every kind at `TARGET`; what came of each, as one line of JSON."""

import json
import os
import queue

import grpc

CREDENTIAL = (("authorization", "Bearer at_alice"),)


def of_error(error):
    return {"code": error.code().name, "details": error.details()}


def tried(call):
    try:
        return call()
    except grpc.RpcError as error:
        return of_error(error)


def unary(channel, method, message, metadata=CREDENTIAL, timeout=5):
    call = channel.unary_unary("/tests.Every/" + method)
    return tried(lambda: call(message, metadata=metadata, timeout=timeout).decode())


def with_metadata(channel):
    answer, call = channel.unary_unary("/tests.Every/Unary").with_call(
        b"hello", metadata=CREDENTIAL, timeout=5
    )
    return {
        "answer": answer.decode(),
        "initial": sorted(key for key, _ in call.initial_metadata()),
        "trailing": sorted(key for key, _ in call.trailing_metadata()),
    }


def failed(channel):
    try:
        channel.unary_unary("/tests.Every/Fail")(b"", metadata=CREDENTIAL, timeout=5)
    except grpc.RpcError as error:
        detail = dict(error.trailing_metadata())["x-detail-bin"]
        return of_error(error) | {"detail": detail.hex()}


def talk(channel):
    """Each is answered before the next is said."""
    said = queue.Queue()
    heard = channel.stream_stream("/tests.Every/Talk")(
        iter(said.get, None), metadata=CREDENTIAL, timeout=10
    )
    answers = []
    for number in range(5):
        said.put(str(number).encode())
        answers.append(next(heard).decode())
    said.put(None)
    return answers + [message.decode() for message in heard]


def total(channel):
    numbers = (str(number).encode() for number in range(1000))
    return channel.stream_unary("/tests.Every/Total")(
        numbers, metadata=CREDENTIAL, timeout=10
    ).decode()


def count(channel):
    counted = channel.unary_stream("/tests.Every/Count")(
        b"1000", metadata=CREDENTIAL, timeout=10
    )
    return len([message.decode() for message in counted])


def cancelled(channel):
    feed = channel.unary_stream("/tests.Every/Feed")(b"", metadata=CREDENTIAL)
    next(feed)
    feed.cancel()
    try:
        for _ in feed:
            pass
    except grpc.RpcError as error:
        return error.code().name


def main():
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(os.environ["TARGET"], options=options) as channel:
        print(
            json.dumps(
                {
                    "unary": with_metadata(channel),
                    "metadata": json.loads(unary(channel, "Metadata", b"")),
                    "failed": failed(channel),
                    "count": count(channel),
                    "total": total(channel),
                    "talk": talk(channel),
                    "big": len(unary(channel, "Big", b"3000000")),
                    "cancelled": cancelled(channel),
                    "deadline": unary(channel, "Sleep", b"3", timeout=0.3),
                    "no_token": unary(channel, "Unary", b"", metadata=None),
                    "bad_token": unary(
                        channel, "Unary", b"", (("authorization", "Bearer at_nobody"),)
                    ),
                    "forbidden": unary(channel, "Forbidden", b""),
                    "nowhere": unary(channel, "Nowhere", b""),
                    "unknown": unary(channel, "Unknown", b""),
                    "too_slow": unary(channel, "Slow", b"5"),
                }
            )
        )


main()
