"""`python -m lilllm`: the `lilllm` command."""

from lilllm.cli.app import main

if __name__ == "__main__":
    main()
