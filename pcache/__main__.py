"""`python -m pcache`."""

from pcache.cli.main import main

if __name__ == "__main__":
    main()
