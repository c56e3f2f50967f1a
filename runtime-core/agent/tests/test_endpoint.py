"""Reports that are sent to an endpoint: a real server takes them, loses them, or refuses them."""

import http.server
import json
import os
import socket
import sys
import threading
import unittest
from unittest import mock

from support import AGENT

sys.path.insert(0, AGENT)

from runtimes import endpoint  # noqa: E402

TOKEN = "rt1.aa.0.0.s3cret"


class Server(http.server.ThreadingHTTPServer):
    """Gives these answers, one after the other; the last one to all that follow. A `None` closes the connection."""

    daemon_threads = True

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.received = list(answers), []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def next_answer(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers), body))
        answer = self.server.next_answer()
        if answer is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, body, headers = (*answer, {}) if len(answer) == 2 else answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Endpoint(unittest.TestCase):
    def server(self, *answers):
        server = Server(*answers)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def send(self, server, report=None, **more):
        with mock.patch.object(endpoint, "_PAUSE", 0.001):
            endpoint.send(report or {"state": "completed"}, server.url, "p q", "aa", 3, TOKEN, **more)

    def refusal(self, server, **more):
        with self.assertRaises(endpoint.EndpointError) as caught:
            self.send(server, **more)
        self.assertNotIn("s3cret", str(caught.exception))
        return caught.exception

    def test_a_report_arrives_as_it_was_written(self):
        server = self.server((200, b"{}"))
        report = {"state": "error", "results": {"é": [1, 2.5, None]}, "error": {"type": "X", "message": "no"}}
        self.send(server, report)
        self.send(server, json.dumps(report).encode())
        for path, headers, body in server.received:
            self.assertRegex(path, r"^/api/v1/projects/p%20q/runs/aa/report\?iter=3&sequence=\d+$")
            self.assertEqual((json.loads(body), headers["Authorization"]), (report, f"Bearer {TOKEN}"))

    def test_what_may_pass_is_tried_again(self):
        server = self.server(None, (503, b""), (429, b"", {"Retry-After": "0.01"}), (200, b"{}"))
        self.send(server)
        self.assertEqual(len(server.received), 4)
        paths = {path for path, _, _ in server.received}
        self.assertEqual(len(paths), 1, "it is the same word each time")

    def test_what_is_refused_is_said_at_once(self):
        server = self.server((409, b'{"detail": "run aa has ended (aborted), and takes no reports"}'))
        error = self.refusal(server)
        self.assertIn("HTTP 409: run aa has ended", str(error))
        self.assertEqual((len(server.received), error.temporary), (1, False))

    def test_the_token_goes_nowhere_else(self):
        other = self.server((200, b"{}"))
        server = self.server((307, b"", {"Location": other.url + "/x"}))
        self.assertIn("HTTP 307", str(self.refusal(server)))
        self.assertEqual(other.received, [])

    def test_nobody_there_is_said_after_a_while(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with self.assertRaises(endpoint.EndpointError) as caught, mock.patch.object(endpoint, "_PAUSE", 0.001):
            endpoint.send({}, url, "p", "aa", token=TOKEN, patience=0.05)
        self.assertTrue(caught.exception.temporary)
        self.assertIn("refused", str(caught.exception))

    def test_one_who_never_answers_is_given_up(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with self.assertRaises(endpoint.EndpointError) as caught:
                endpoint.send({}, url, "p", "aa", token=TOKEN, timeout=0.05, patience=0.1)
        self.assertIn("timed out", str(caught.exception))

    def test_what_cannot_be_right_is_not_sent(self):
        for url, token, says in (
            ("ftp://a", TOKEN, "no URL of an endpoint"),
            ("http://a", "", "holds no token"),
            ("http://a", "a\nb", "holds no token"),
        ):
            with self.assertRaisesRegex(endpoint.EndpointError, says):
                endpoint.send({}, url, "p", "aa", token=token)
        with mock.patch.object(endpoint, "LARGEST", 10), self.assertRaisesRegex(endpoint.EndpointError, "as an artifact"):
            endpoint.send({"results": "x" * 20}, "http://a", "p", "aa", token=TOKEN)

    def test_the_environment_says_where(self):
        server = self.server((200, b"{}"))
        run = {"metadata": {"uid": "aa", "project": "p", "iteration": 2}}
        with mock.patch.dict(os.environ, {endpoint.URL: server.url, endpoint.TOKEN: TOKEN}):
            self.assertTrue(endpoint.send_from_env({"state": "running"}, run))
        self.assertIn("/projects/p/runs/aa/report?iter=2&", server.received[0][0])
        with mock.patch.dict(os.environ, {endpoint.URL: ""}):
            self.assertFalse(endpoint.send_from_env({}, run))
