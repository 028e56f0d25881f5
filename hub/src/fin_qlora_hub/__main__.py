"""`python -m fin_qlora_hub` is `fin-qlora-hub`."""

from fin_qlora_hub.cli import main

if __name__ == "__main__":
    main()
