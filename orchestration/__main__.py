"""`python -m orchestration`."""

from orchestration.signals import run


def main() -> None:
    from orchestration.cli import main  # within reach of Ctrl-C: it takes a while

    main()


if __name__ == "__main__":
    run(main)
