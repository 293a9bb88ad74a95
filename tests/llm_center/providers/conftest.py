"""The local model server as a fixture."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.llm_center.providers.model_server import ModelServer, Reply


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                number = len(state.requests)
                state.requests.append(body | {"path": self.path})
                state.headers.append({name.lower(): value for name, value in self.headers.items()})
                state.times.append(time.monotonic())
                state.busy += 1
                state.most_busy = max(state.busy, state.most_busy)
                step = state.script[min(number, len(state.script) - 1)]
            try:
                reply = step if isinstance(step, Reply) else step(state.merchants(number))
                time.sleep(reply.delay)
                with state.lock:
                    state.busy -= 1
                text = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
                self.send_response(reply.status)
                for name, value in ({"Content-Length": str(len(text))} | reply.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if reply.drip:
                    for byte in text:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(reply.drip)
                else:
                    self.wfile.write(text)
            except OSError:
                pass  # the client has gone

        do_GET = do_POST  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    httpd = Server(("127.0.0.1", 0), Handler)
    state = ModelServer(f"http://127.0.0.1:{httpd.server_port}/v1")
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()
