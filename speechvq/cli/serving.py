"""The command serve."""

import argparse
import sys
import threading
import webbrowser
from typing import Any

from speechvq.cli.arguments import add_command, add_device, add_model, load_codec, port, report

PORT = 8017


def add_commands(commands: Any) -> None:
    """Add the command of this module."""
    text = "Open a page on this computer to record, convert, hear and see speech."
    command = add_command(commands, "serve", _serve, text)
    add_model(command)
    add_device(command)
    text = f"port on 127.0.0.1; 0 for any that is free (default: {PORT})"
    command.add_argument("--port", type=port, default=PORT, help=text)
    command.add_argument("--no-browser", action="store_true", help="only print the address, open nothing")


def _serve(options: argparse.Namespace) -> None:
    from speechvq.folder.card import model_folder
    from speechvq.serve.server import LocalServer
    from speechvq.serve.studio import Studio

    codec = load_codec(options)
    server = LocalServer(Studio(codec, model_folder(options.model)), options.port)
    report(options, {"url": server.url}, [f"{server.url}: the page, until Ctrl-C"])
    sys.stdout.flush()  # a program that started this one may wait for the address
    if not options.no_browser:
        threading.Timer(0.5, webbrowser.open, [server.url]).start()
    server.run()
