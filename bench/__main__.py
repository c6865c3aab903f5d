"""`python -m bench`."""

import sys

try:
    from bench.cli import main
except ModuleNotFoundError as error:
    # Another Python than that of the environment, most often: nothing of the program can start.
    if str(error.name).startswith("bench"):
        raise
    print(
        f"error: {sys.executable} does not have the package {error.name}; activate the project's "
        "environment (. .venv/bin/activate), or run: pip install .",
        file=sys.stderr,
    )
    raise SystemExit(2) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

if __name__ == "__main__":
    main()
