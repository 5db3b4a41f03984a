"""A gRPC server: every kind of call, messages of plain bytes. Says on which port it listens."""

import json
import sys
import time
from concurrent import futures

import grpc


def unary(request, context):
    context.send_initial_metadata((("x-initial", "1"),))
    context.set_trailing_metadata((("x-checksum", "7"), ("x-auth-subject", "admin")))
    return request


def metadata(request, context):
    seen = {key: str(value) for key, value in context.invocation_metadata()}
    return json.dumps({"metadata": seen, "left": context.time_remaining()}).encode()


def fail(request, context):
    context.set_trailing_metadata((("x-detail-bin", b"\x00\xff"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "no such record: ä %")


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def feed(request, context):
    number = 0
    while context.is_active():
        yield str(number).encode()
        number += 1
        time.sleep(0.1)


def total(requests, context):
    return str(sum(int(request) for request in requests)).encode()


def talk(requests, context):
    for request in requests:
        yield b"heard " + request


def sleep(request, context):
    time.sleep(float(request))
    return b"slept"


def big(request, context):
    return b"x" * int(request)


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Metadata": grpc.unary_unary_rpc_method_handler(metadata),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "Slow": grpc.unary_unary_rpc_method_handler(sleep),
    "Big": grpc.unary_unary_rpc_method_handler(big),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Feed": grpc.unary_stream_rpc_method_handler(feed),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
}


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    handler = grpc.method_handlers_generic_handler("tests.Every", HANDLERS)
    server.add_generic_rpc_handlers((handler,))
    print(json.dumps({"port": server.add_insecure_port("127.0.0.1:0")}), flush=True)
    server.start()
    # Ends with whoever has started it.
    sys.stdin.read()
    server.stop(None)


main()
