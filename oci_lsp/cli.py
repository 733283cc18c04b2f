"""The command line: words in, an exit status out; each command's work is in a module of its own.

Exit status: 0 passed or already_passing, 1 failed or stale, 2 no_test, broken_test, error or a
wrong command line, 130 cancelled. Everything beyond the parser is imported when it is needed: an
editor waits for `oci-lsp` to answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from oci_lsp import __version__
from oci_lsp.errors import OciError
from oci_lsp.terminal.parser import Parser


def command_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="oci-lsp",
        description="Repairs and writes Python functions with a local 4-bit model, and edits only "
        "after your own test has passed. Without a command: the language server, on stdin and "
        "stdout.",
    )
    parser.add_argument("--version", action="version", version=f"oci-lsp {__version__}")
    parser.add_argument("--log-file", type=Path, metavar="FILE", help="the server's log")
    _add_set(parser, "set_before")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    serve = commands.add_parser("serve", help="the language server (the default)")
    serve.add_argument("--stdio", action="store_true", help="on stdin and stdout (the default)")
    serve.add_argument("--tcp", action="store_true", help="on a loopback port, for debugging")
    serve.add_argument("--port", type=int, default=2087, help="with --tcp (default: 2087)")
    serve.add_argument("--log-file", type=Path, metavar="FILE", default=argparse.SUPPRESS)

    demo = commands.add_parser("demo", help="repair a small project before your eyes")
    _add_yes(demo)
    demo.add_argument("--keep", action="store_true", help="keep the demo's folder")

    fix = commands.add_parser("fix", help="repair a function until its test passes")
    fix.add_argument(
        "target",
        nargs="?",
        metavar="FILE::QUALNAME|PATH",
        help="e.g. src/shop.py::Cart.total; with --failing a file or folder (default: the project)",
    )
    fix.add_argument(
        "--failing",
        action="store_true",
        help="run the test suite and repair every function in PATH that its failures blame",
    )
    generate = commands.add_parser("generate", help="write a function that its test accepts")
    generate.add_argument("target", metavar="FILE::QUALNAME|FILE:LINE")
    for command in (fix, generate):
        command.add_argument(
            "--test",
            action="append",
            default=[],
            metavar="ID",
            help="pytest node id, or text with `assert` or `>>>` lines; may be repeated",
        )
        command.add_argument("--feedback", metavar="TEXT", help="your words to the model")
        command.add_argument(
            "--continue",
            action="store_true",
            dest="go_on",
            help="with --feedback: go on with the last conversation on this function",
        )
        command.add_argument(
            "--pin", action="store_true", help="write the test that was named into pyproject.toml"
        )
        command.add_argument("--apply", action="store_true", help="change the file, if it passes")
        command.add_argument("--json", action="store_true", help="one JSON object on stdout")
        command.add_argument("--verbose", action="store_true", help="show the tokens as they come")
        _add_trust(command)
        _add_yes(command)

    doctor = commands.add_parser("doctor", help="check this machine and this project")
    doctor.add_argument("--json", action="store_true", help="a JSON list on stdout")
    _add_trust(doctor)

    model = commands.add_parser("model", help="the models on this machine")
    actions = model.add_subparsers(dest="action", required=True, parser_class=Parser)
    listing = actions.add_parser("list", help="what there is, what fits, what `auto` takes")
    _add_trust(listing)
    pull = actions.add_parser("pull", help="fetch a model and quantise it to NF4")
    pull.add_argument("name", help="a name of `model list`, a Hugging Face id or a GGUF file")
    _add_yes(pull)
    remove = actions.add_parser("remove", help="delete a model's files")
    remove.add_argument("name", help="a name that `model list` shows, or what was pulled")

    engine = commands.add_parser("engine", help="the process that holds the model")
    actions = engine.add_subparsers(dest="action", required=True, parser_class=Parser)
    start = actions.add_parser("start", help="start it and load the model")
    _add_yes(start)
    _add_trust(start)
    stop = actions.add_parser(
        "stop",
        help="end all of yours, or that of --set engine.model or engine.device; free the memory",
    )
    status = actions.add_parser("status", help="what it does")

    looking_back = _add_history(commands)
    trust = commands.add_parser("trust", help="let an editor run the code of a folder")
    trust.add_argument("folder", nargs="?", metavar="FOLDER", help="without one: list them")
    trust.add_argument("--revoke", action="store_true", help="take it back")

    listed = commands.add_parser(
        "settings",
        help="every setting: its value in this project, where that comes from, its meaning",
    )
    shape = listed.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON object on stdout")
    shape.add_argument("--schema", action="store_true", help="the JSON schema of all settings")
    _add_trust(listed)

    for command in (
        *(serve, demo, fix, generate, doctor),
        *(listing, pull, remove, start, stop, status, listed),
        *looking_back,
    ):
        _add_set(command, "set_after")

    parser.examples("oci-lsp fix src/shop.py::Cart.total", "oci-lsp doctor")
    serve.examples("oci-lsp serve --tcp --port 2087 --log-file server.log")
    demo.examples("oci-lsp demo --yes")
    fix.examples(
        "oci-lsp fix src/shop.py::Cart.total --apply",
        "oci-lsp fix --failing tests --apply",
        "oci-lsp fix calc.py::add --test tests/test_calc.py::test_add --verbose",
        "oci-lsp fix calc.py::add --test 'assert add(2, 3) == 5' --feedback 'no loops' --json",
    )
    generate.examples(
        "oci-lsp generate text.py:12", "oci-lsp generate text.py::slugify --set refine.turns=4"
    )
    doctor.examples("oci-lsp doctor", "oci-lsp doctor --json --set verify.network=true")
    model.examples("oci-lsp model list")
    listing.examples("oci-lsp model list")
    pull.examples("oci-lsp model pull qwen2.5-coder-1.5b --yes")
    remove.examples("oci-lsp model remove qwen2.5-coder-1.5b")
    engine.examples("oci-lsp engine status")
    start.examples("oci-lsp engine start --set engine.model=qwen2.5-coder-0.5b")
    stop.examples("oci-lsp engine stop", "oci-lsp engine stop --set engine.device=cpu")
    status.examples("oci-lsp engine status")
    trust.examples("oci-lsp trust .", "oci-lsp trust --revoke .")
    listed.examples("oci-lsp settings", "oci-lsp settings --schema > oci-lsp.schema.json")
    return parser


def _add_history(commands: argparse._SubParsersAction[Parser]) -> tuple[Parser, ...]:
    history = commands.add_parser("history", help="what earlier jobs did, and running them again")
    actions = history.add_subparsers(dest="action", required=True, parser_class=Parser)
    listing = actions.add_parser("list", help="the jobs, the newest first")
    listing.add_argument("--json", action="store_true", help="a JSON list on stdout")
    show = actions.add_parser("show", help="a job's conversation and candidates, as Markdown")
    show.add_argument("--json", action="store_true", help="its records, as a JSON list")
    replay = actions.add_parser("replay", help="test a job's candidates once more, without a model")
    _add_trust(replay)
    _add_yes(replay)
    for needs_job in (show, replay):
        needs_job.add_argument(
            "job", metavar="ID", help="of `history list`, its beginning, or `last`"
        )
    export = actions.add_parser("export", help="conversations as training data")
    export.add_argument("jobs", nargs="*", metavar="ID", help="by default all of them")
    export.add_argument("--format", choices=["code-feedback"], required=True)
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="instead of stdout")
    clear = actions.add_parser("clear", help="delete every transcript")
    _add_yes(clear)
    history.examples("oci-lsp history list")
    listing.examples("oci-lsp history list")
    show.examples("oci-lsp history show last")
    replay.examples("oci-lsp history replay last")
    export.examples("oci-lsp history export --format code-feedback -o jobs.json")
    clear.examples("oci-lsp history clear")
    return listing, show, replay, export, clear


def _add_set(parser: argparse.ArgumentParser, dest: str) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest=dest,
        metavar="KEY=VALUE",
        help="a setting, e.g. refine.candidates=8; may be repeated",
    )


def _add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let pyproject.toml set what could weaken your safety (network, engine.url, ...)",
    )


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="answer yes to every question")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status; errors meant for the user go to stderr."""
    options = command_parser().parse_args(argv)
    options.assignments = [*options.set_before, *getattr(options, "set_after", [])]
    try:
        _check_platform()
        return _run(options)
    except OciError as error:
        print(f"oci-lsp: {error}", file=sys.stderr)
        return 2
    except (PermissionError, FileNotFoundError) as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"oci-lsp: {place}{error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`oci-lsp settings | head`).
        sys.stderr.close()
        return 2


def _check_platform() -> None:
    if sys.platform == "win32":
        raise OciError(
            "oci-lsp does not run on native Windows",
            "Run it inside WSL (Windows Subsystem for Linux), where it works as on Linux.",
        )


def _run(options: argparse.Namespace) -> int:
    from oci_lsp.settings import Settings, from_command_line

    if options.command in (None, "serve"):
        return _serve(options)
    if options.command == "settings":
        from oci_lsp.terminal import settings as listing

        return listing.run(options)
    if options.command == "fix" and options.failing:
        from oci_lsp.terminal import failing

        return failing.run(options)
    if options.command in ("fix", "generate"):
        from oci_lsp.terminal import jobs

        return jobs.run(options)
    if options.command == "trust":
        from oci_lsp.terminal import trust

        return trust.run(options)
    if options.command == "doctor":
        from oci_lsp.terminal import doctor

        return doctor.run(options)
    if options.command == "demo":
        settings = from_command_line(Settings(), options.assignments)
        from oci_lsp.demo import play

        return play.run(settings, options.assignments, yes=options.yes, keep=options.keep)
    if options.command == "history":
        from oci_lsp.terminal import history

        return history.run(options)
    from oci_lsp.terminal import models

    return models.run(options)


def _serve(options: argparse.Namespace) -> int:
    from oci_lsp.settings import Settings, from_command_line

    # A wrong word must be told now; the server itself would only log it.
    from_command_line(Settings(), options.assignments)
    from oci_lsp.lsp import server

    if getattr(options, "tcp", False):
        return server.main_tcp(
            "127.0.0.1", options.port, assignments=options.assignments, log_file=options.log_file
        )
    if sys.stdin.isatty():
        print(
            "oci-lsp is a language server: an editor starts it and talks to it on stdin.\n"
            "Try `oci-lsp demo`, or `oci-lsp --help`. Ctrl-C ends it.",
            file=sys.stderr,
        )
    return server.main_stdio(assignments=options.assignments, log_file=options.log_file)
