"""What people can do, found by playing: every DID is a piece, every request is judged by itself.

It shares with the package only what a single request is worth (`rules.refusal`, which is held
against a real ledger). It knows no sums and no shortcuts, but that pieces that look alike are alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from itertools import chain, combinations

from keep_ledger.multisig.rules.auth_rules import (
    Constraint,
    Forbidden,
    RuleKey,
    Rules,
    Signer,
    owner_counts,
    refusal,
)

VERKEY = RuleKey("1", "EDIT", "verkey", "*", "*")
RULES = (RuleKey("120", "EDIT", "*", "*", "*"), RuleKey("122", "EDIT", "*", "*", "*"))
_ASKED = 2  # signatures of one role: rules of the tests ask for no more
_PUPPETS = 5  # pieces in hand of one role: two and two to sign, and one to turn
_INVENTED = tuple(Signer(f"invented{n}", None, known=False) for n in range(2))

Piece = tuple[str, bool]
"""A DID: its role, empty for none, and whether the players hold its key."""

Board = tuple[Piece, ...]
"""In order."""


class Players:
    """They know the rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._meets = cache(self._judge)

    def can(self, board: Board, key: RuleKey) -> bool:
        """Whether they can ever make a write of which none of them is the owner, if it has one."""
        seen, queue, most = {board}, deque([board]), len(board) + 3 * _PUPPETS
        while queue:
            at = queue.popleft()
            if any(self._accepted((each,), at, None) for each in (*RULES, key)):
                return True
            for after in chain(self._register(at, most), self._turn(at), self._take(at)):
                if after not in seen:
                    seen.add(after)
                    queue.append(after)
        return False

    def _accepted(self, keys: tuple[RuleKey, ...], board: Board, target: Piece | None) -> bool:
        """Whether pieces in hand can sign a request that meets all of these rules.

        Args:
            target: the piece that it changes, None where nobody is the owner.
        """
        hand = [role for role, mine in board if mine]
        if target is not None and target[1]:
            hand.remove(target[0])
        own = None if target is None or not target[1] else target[0]
        of_use = tuple(
            role for role in ("", "0", "101") for _ in range(min(hand.count(role), _ASKED))
        )
        return self._meets(keys, of_use, own)

    def _judge(self, keys: tuple[RuleKey, ...], hand: tuple[str, ...], own: str | None) -> bool:
        for signers, author, endorser in _requests(hand, own, invent=VERKEY in keys):
            if not any(self._refused(key, signers, author, endorser) for key in keys):
                return True
        return False

    def _refused(
        self, key: RuleKey, signers: list[Signer], author: str, endorser: str | None
    ) -> bool:
        free = not owner_counts(key)
        told = [Signer(s.did, s.role, free or s.owner, s.known) for s in signers]
        return bool(refusal(self._rules.get(key, Forbidden()), told, author, endorser))

    def _register(self, board: Board, most: int) -> Iterator[Board]:
        if len(board) >= most:  # else puppets that are turned make room for more, for ever
            return
        for role in ("0", "101", ""):
            key = RuleKey("1", "ADD", "role", "*", role)
            if key not in self._rules or board.count((role, True)) >= _PUPPETS:
                continue
            if _by_itself(self._rules[key]) or self._accepted((key,), board, None):
                yield tuple(sorted((*board, (role, True))))

    def _turn(self, board: Board) -> Iterator[Board]:
        for piece in {piece for piece in board if piece[1]}:
            for new in {"0", "101", ""} - {piece[0]}:
                key = RuleKey("1", "EDIT", "role", piece[0], new)
                ways = ((key,), (key, VERKEY))
                if key in self._rules and any(self._accepted(w, board, piece) for w in ways):
                    yield _replaced(board, piece, (new, True))

    def _take(self, board: Board) -> Iterator[Board]:
        for piece in {piece for piece in board if not piece[1]}:
            if self._accepted((VERKEY,), board, piece):
                yield _replaced(board, piece, (piece[0], True))


def _requests(
    hand: tuple[str, ...], own: str | None, *, invent: bool
) -> Iterator[tuple[list[Signer], str, str | None]]:
    """Every set of signers, with every author and every endorser among them."""
    owner = [] if own is None else [Signer("owner", own or None, owner=True)]
    sets = {each for n in range(len(hand) + 1) for each in combinations(hand, n)}
    for roles in sorted(sets):
        others = [Signer(f"other{n}", role or None) for n, role in enumerate(roles)]
        for signers in ([*owner, *others], others):
            endorsers = [None, *(s.did for s in signers if s.role == "101")]
            for author in signers:
                invented = _INVENTED if invent and author.owner else ()
                for endorser in endorsers:
                    yield [*signers, *invented], author.did, endorser


def _by_itself(constraint: Constraint) -> bool:
    alone = Signer("new", None, owner=True, known=False)
    return not refusal(constraint, [alone, *_INVENTED], "new", None)


def _replaced(board: Board, piece: Piece, by: Piece) -> Board:
    left = list(board)
    left.remove(piece)
    return tuple(sorted((*left, by)))
