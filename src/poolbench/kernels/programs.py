"""The programs that torch's operators can be called with."""

from poolbench.kernels.program import Program


class Programs:
    """Programs by their digest: torch's dispatcher hands on tensors, numbers and texts, and so no program."""

    def __init__(self) -> None:
        self._by_digest: dict[str, Program] = {}

    def add(self, program: Program) -> None:
        """Let the operators be called with a program's digest."""
        self._by_digest[program.digest] = program

    def of(self, digest: str) -> Program:
        """Return the program of a digest.

        Raises:
            RuntimeError: no operator with this formula was constructed in this process.
        """
        try:
            return self._by_digest[digest]
        except KeyError:
            raise RuntimeError(
                f"`program` must be the digest of a formula whose operator was constructed in this process, got "
                f"{digest!r}: construct the pooling operator first"
            ) from None
