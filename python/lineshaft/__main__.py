"""Entry of the command ``lineshaft`` and of ``python -m lineshaft``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line of this process; return its exit code."""
    if not sys.flags.safe_path:
        # The folder of the command, or the current one under -m. Nothing of ours is there, and a
        # `typing.py` that happens to be there is not meant for us.
        del sys.path[0]
    from lineshaft import cli

    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
