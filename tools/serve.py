"""Show the built book on a local address: `python -m tools.serve [PORT]`."""

from __future__ import annotations

import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from tools.build import INDEX

DEFAULT_PORT = 8000


def make_server(port: int) -> ThreadingHTTPServer:
    """Return a server of the built book on the loopback; any free port if `port` is taken."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(INDEX.parent))
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)


def main() -> None:
    """Serve until the reader presses Ctrl-C."""
    if not INDEX.exists():
        sys.exit("The book is not built yet: run `make book` first.")
    server = make_server(int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PORT)
    print(f"The book is at http://127.0.0.1:{server.server_port}/ (Ctrl-C ends this)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
