"""`pcache` and `python -m pcache`."""

import signal

__all__ = ["main"]


def main() -> None:
    """Load the command line and run it. While it loads, Ctrl-C just ends it: nothing is to be kept."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pcache.cli.main import main as run

    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
