"""A model server for chat completions that answers, or accepts requests and never answers."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ModelServer:
    """What a test sets and sees."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()


@contextlib.contextmanager
def model_server() -> Iterator[ModelServer]:
    """Run a server on a free port. It names no owner, so every merchant goes to review."""
    state = ModelServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked += 1
            state.answers.wait(120)
            merchants = json.loads(body["messages"][1]["content"])["untrusted_merchants"]
            answers = [
                {
                    "id": merchant["id"],
                    "owner": "unknown",
                    "ticker": None,
                    "company": "",
                    "confidence": 0.1,
                    "reason": "never heard of it",
                    "alternatives": [],
                }
                for merchant in merchants
            ]
            text = json.dumps(
                {
                    "id": "c",
                    "object": "chat.completion",
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {"role": "assistant", "content": json.dumps({"merchants": answers})},
                        }
                    ],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20},
                }
            ).encode()
            with contextlib.suppress(OSError):  # the client has disconnected
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()
