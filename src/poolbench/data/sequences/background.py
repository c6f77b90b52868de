"""A background for planted motifs: DNA in which a letter depends on the three before it.

The counts are of primate genes: all four-letter words of the 1,653 sequences of class N (no junction, 60 letters) of
'Molecular Biology (Splice-junction Gene Sequences)', UCI Machine Learning Repository, https://doi.org/10.24432/C5M888,
CC BY 4.0, which took them from GenBank 64.1, without duplicates; words with an ambiguous letter are left out.
"""

import numpy as np
import torch

from poolbench.data.sequences.alphabet import LETTERS

ORDER = 3
# A row is the first two letters of a word, a column its last two: AA, AC, AG, AT, CA, …, TT; 94,185 words.
_COUNTS = """
AA  776 353 527 498 410 295 120 329 617 416 545 354 322 249 441 356
AC  361 335 473 375 501 429 140 437 118 136 171  98 198 330 389 351
AG  713 369 548 400 496 471 187 567 708 490 549 352 228 274 440 332
AT  298 198 184 274 340 298 106 357 435 316 432 360 258 315 291 542
CA  434 309 479 282 424 546 179 372 602 663 682 426 223 423 395 386
CC  433 474 769 429 606 565 269 578 153 264 244 130 249 604 820 466
CG   76 129 224  83 156 280 127 184 179 282 278 109  30 103 210  78
CT  209 294 193 253 522 630 157 620 564 701 803 503 219 553 365 535
GA  577 328 671 314 423 423 159 323 597 487 680 325 197 244 421 273
GC  344 323 625 286 530 547 243 543 150 220 287  89 220 465 786 369
GG  556 464 811 316 467 584 262 509 614 543 597 325 179 268 510 267
GT  201 148 156 218 274 315  90 323 375 379 608 344 154 281 248 361
TA  369 160 246 266 283 247  67 250 219 143 186 174 220 179 277 384
TC  378 387 512 328 481 496 140 575  97 128 144 106 279 530 583 494
TG  541 359 506 326 471 520 165 576 632 507 642 439 283 350 553 369
TT  331 210 188 309 475 458 125 597 355 340 375 351 408 512 516 747
"""


def word_counts() -> np.ndarray:
    """Return how often each word of four letters was seen, int64 (4, 4, 4, 4), letters in the order A, C, G, T."""
    rows = [line.split() for line in _COUNTS.split("\n") if line]
    assert [row[0] for row in rows] == [first + second for first in LETTERS for second in LETTERS]
    return np.array([row[1:] for row in rows], np.int64).reshape(4, 4, 4, 4)


def background(count: int, length: int, generator: torch.Generator) -> np.ndarray:
    """Return random sequences, letters 0..3 as uint8 (count, length).

    The first three letters are drawn together, each further one by the frequencies after the three before it.

    >>> background(2, 5, torch.Generator().manual_seed(0)).shape
    (2, 5)
    """
    counts = word_counts()
    after = counts.reshape(64, 4)
    cumulated = np.cumsum(after / after.sum(1, keepdims=True), 1)[:, :3]
    begin = np.cumsum(after.sum(1) / after.sum())[:-1]
    drawn = torch.rand((count, max(length, ORDER)), generator=generator, dtype=torch.float64).numpy()
    letters = np.empty(drawn.shape, np.uint8)
    state = np.searchsorted(begin, drawn[:, 0], side="right")
    letters[:, :ORDER] = np.stack([state // 16, state // 4 % 4, state % 4], 1)
    for place in range(ORDER, max(length, ORDER)):
        letter = (drawn[:, place, None] >= cumulated[state]).sum(1)
        letters[:, place] = letter
        state = state % 16 * 4 + letter
    return letters[:, :length]
