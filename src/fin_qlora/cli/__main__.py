"""``python -m fin_qlora.cli`` is ``fin-qlora``."""

from .main import main

if __name__ == "__main__":
    main()
