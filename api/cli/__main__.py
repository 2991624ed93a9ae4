"""So that `python -m api.cli` is `diptych`."""

from api.cli import main

main()
