"""`python -m sendtide.commands`: the command line without the installed script."""

from sendtide.commands import main

if __name__ == "__main__":
    main()
