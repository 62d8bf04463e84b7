"""The entry of `serve` and of `python -m serve_cli`: Ctrl-C means the same from the first instant on."""

import sys


def main() -> None:
    """Run the command line; exits with 130 where Ctrl-C comes while Python still imports."""
    try:
        from serve_cli.app import main as run
        from serve_cli.streams import open_streams
    except KeyboardInterrupt:
        sys.exit(130)
    open_streams()
    run()


if __name__ == "__main__":
    main()
