"""`python -m serve_cli` is `serve`."""

from serve_cli.app import main

main()
