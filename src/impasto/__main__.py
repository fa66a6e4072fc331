"""The program: `impasto`, or `python -m impasto`."""

import signal


def main() -> None:
    """Entry point of the console script, whose process is ours."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as in the background of a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback while modules are imported
    from impasto import cli

    cli.main()


if __name__ == "__main__":
    main()
