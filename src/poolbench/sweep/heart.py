"""A worker's heart: a thread that shows the worker lives, and sees why a cell must end.

A cell is ended in order: its training asks at each step whether it shall stop. One that hangs past its limit of time
answers no more: then the heart interrupts the main thread, and where that does not answer either, it writes the cell's
record and ends the process.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from poolbench.sweep.claims import BEAT_S, Claim
from poolbench.sweep.process import log

# Seconds without a sign of progress, past the limit of time, after which a cell counts as hanging; how long the main
# thread has to answer when it is interrupted; and how long to end the cell when it has answered.
HANG_GRACE_S = 30.0
ANSWER_S = 10.0
ENDING_S = 60.0
# A limit of time is one of training: what comes before and after it may take as long again, or a minute.
OTHER_LEAST_S = 60.0

HANGS = "it hangs past `protocol.time_limit`"
# Beats over which the share of the processors is taken, and what of it counts as crawling.
LOOKS = 4
LEAST_SHARE = 0.5

LOST = "another worker has taken the cell over"


@dataclass
class Pulse:
    """How far the cell is that the worker is at; set by its training, read by the heart.

    Args:
        claim: of the cell.
        time_limit_s: of its training; None: none.
        kill: writes the record of a cell that hangs, and is given the reason.
    """

    claim: Claim
    time_limit_s: float | None
    kill: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    training_began: float | None = None
    sign: float = field(default_factory=time.monotonic)
    epoch: float = 0.0
    epochs: int = 0
    interrupted: float | None = None
    answered: bool = False
    # The cell has ended, and its record is being written.
    over: bool = False

    def progress(self, done: float, of: int) -> None:
        """A sign of progress: `done` epochs of `of` are over."""
        self.sign = time.monotonic()
        if self.training_began is None:
            self.training_began = self.sign
        self.epoch, self.epochs = done, of

    @property
    def is_training(self) -> bool:
        """Whether the cell is in its training."""
        return self.training_began is not None and not self.over and self.epoch < self.epochs

    def end(self) -> None:
        """The cell has ended: nothing interrupts the writing of its record."""
        self.over = True

    def hangs(self, now: float, grace_s: float) -> bool:
        """Whether the cell is past its limit of time and gives no sign."""
        limit = self.time_limit_s
        if limit is None or self.over:
            return False
        if self.training_began is None:
            return now - self.began > limit + max(OTHER_LEAST_S, limit)
        if self.epoch >= self.epochs:
            return now - self.sign > max(OTHER_LEAST_S, limit)
        return now - self.training_began > limit and now - self.sign > grace_s


class Share:
    """How much of the processors' time a training gets.

    Args:
        threads: how many processors it could use.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.said = False
        self._looks: list[tuple[float, float]] = []

    def hint(self, now: float, used: float, *, training: bool) -> str:
        """Return what to say, empty where there is nothing to say, or it was said.

        Args:
            now: seconds, by a clock that never goes back.
            used: seconds of processors that the process has used.
            training: whether it trains: else it may wait for a disk.

        >>> share = Share(2)
        >>> [bool(share.hint(5.0 * n, 1.5 * n, training=True)) for n in range(7)]
        [False, False, False, False, True, False, False]
        """
        self._looks = [*self._looks, (now, used)][-LOOKS - 1 :] if training else []
        if self.said or len(self._looks) <= LOOKS:
            return ""
        (began, before), (end, after) = self._looks[0], self._looks[-1]
        share = (after - before) / (end - began)
        if share >= LEAST_SHARE * self.threads:
            return ""
        self.said = True
        fewer = "threads=1, or fewer workers," if self.threads > 1 else "fewer workers, or a quieter hour,"
        return (
            f"slow steps: {self.threads} thread{'s' * (self.threads != 1)} get{'s' * (self.threads == 1)} the time of "
            f"{share:.1f} processors, as others use this machine; {fewer} may be faster"
        )


class Heart:
    """Beats while its block runs.

    Args:
        asked_to_stop: returns why the whole worker shall stop, empty where it shall not; asked at each beat.
        beat_s: seconds between two beats.
        grace_s: see `HANG_GRACE_S`.
        answer_s: see `ANSWER_S`.
        ending_s: see `ENDING_S`.
        threads: of the training; where they get much less time than they could, it is said, once.
    """

    def __init__(
        self,
        asked_to_stop: Callable[[], str] = lambda: "",
        *,
        beat_s: float = BEAT_S,
        grace_s: float = HANG_GRACE_S,
        answer_s: float = ANSWER_S,
        ending_s: float = ENDING_S,
        threads: int = 1,
    ) -> None:
        self.beat_s, self.grace_s, self.answer_s, self.ending_s = beat_s, grace_s, answer_s, ending_s
        self.stop = ""
        # Whether the main thread takes SIGALRM for an interruption.
        self.interrupts = False
        self._asked_to_stop = asked_to_stop
        self._share = Share(threads)
        self._pulse: Pulse | None = None
        self._lost = False
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="poolbench-heart", daemon=True)

    def __enter__(self) -> "Heart":
        """Begin to beat; what asks the worker to stop from the first is known at once."""
        self.stop = self._asked_to_stop()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Beat no more."""
        self._ended.set()
        self._thread.join()

    def attach(self, pulse: Pulse | None) -> None:
        """Watch over another cell; None: over none."""
        with self._lock:
            self._pulse, self._lost = pulse, False

    def reason(self) -> str | None:
        """Return why the cell must end now, None where it need not; asked at each step."""
        return LOST if self._lost else self.stop or None

    def answer(self) -> bool:
        """The main thread was interrupted, and answers; return whether there is a cell that must end."""
        pulse = self._pulse
        if pulse is None or pulse.over:
            return False
        pulse.answered = True
        return True

    def _run(self) -> None:
        while not self._ended.wait(self.beat_s):
            self.stop = self.stop or self._asked_to_stop()
            with self._lock:
                if self._pulse is not None:
                    self._look(self._pulse)

    def _look(self, pulse: Pulse) -> None:
        try:
            if pulse.claim.is_held():
                pulse.claim.beat(epoch=round(pulse.epoch, 2), epochs=pulse.epochs)
            else:
                self._lost = True
        except OSError:  # a full disk, a server that is away: the next beat tries again
            pass
        now = time.monotonic()
        hint = self._share.hint(now, time.process_time(), training=pulse.is_training)
        if hint:
            log.warning("%s", hint)
        if pulse.over:
            return
        if pulse.interrupted is not None:
            if now - pulse.interrupted > (self.ending_s if pulse.answered else self.answer_s):
                try:
                    pulse.kill(f"{HANGS} and does not answer")
                except Exception:  # the claim is lost, the disk full: the process ends all the same
                    log.exception("a cell hangs and does not answer, and that could not be recorded")
                finally:
                    os._exit(1)
        elif pulse.hangs(now, self.grace_s):
            pulse.interrupted = now
        if pulse.interrupted is not None and self.interrupts:
            # Again at each beat: what was interrupted may go on and hang elsewhere.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)


def facts(beat: Mapping[str, Any]) -> str:
    """Return what a heartbeat tells of a cell, in a few words.

    >>> facts({"count": 3, "epoch": 2.5, "epochs": 12}), facts({})
    ('epoch 3 of 12', '')
    """
    if not beat.get("epochs"):
        return ""
    return f"epoch {min(int(beat['epoch']) + 1, beat['epochs'])} of {beat['epochs']}"
