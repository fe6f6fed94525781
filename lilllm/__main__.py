"""`python -m lilllm`, which is what `torchrun -m lilllm` starts on every rank."""

from lilllm.cli.app import main

if __name__ == "__main__":
    main()
