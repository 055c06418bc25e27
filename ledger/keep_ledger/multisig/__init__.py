"""Control shared by several people: threshold signatures, drills, recovery and the group's description.

Pure: no ledger, no store, no network. Needs the extra `multisig`.
"""

from keep_ledger.multisig.dealer import split_seed
from keep_ledger.multisig.descriptor import Descriptor, Person, rule_digest
from keep_ledger.multisig.dkg import (
    Ceremony,
    Dealing,
    Round1Package,
    Round2Package,
    begin,
    deal_out,
    finish,
    transcript,
)
from keep_ledger.multisig.drill import (
    Answer,
    Challenge,
    Drill,
    answer,
    drill,
    last_proven,
    overdue,
)
from keep_ledger.multisig.errors import (
    MultisigError,
    RecoveryError,
    RefusedError,
    SpentError,
)
from keep_ledger.multisig.frost import Vault, aggregate, commit, sign
from keep_ledger.multisig.recovery import (
    Backup,
    Circle,
    PaperShare,
    Plan,
    answer_with_words,
    replace,
    restore,
    split,
)
from keep_ledger.multisig.shares import Commitment, Group, Nonces, Share, SignatureShare
from keep_ledger.multisig.sheets import sheet
from keep_ledger.multisig.vault import NonceFiles

__all__ = [
    "Answer",
    "Backup",
    "Ceremony",
    "Challenge",
    "Circle",
    "Commitment",
    "Dealing",
    "Descriptor",
    "Drill",
    "Group",
    "MultisigError",
    "NonceFiles",
    "Nonces",
    "PaperShare",
    "Person",
    "Plan",
    "RecoveryError",
    "RefusedError",
    "Round1Package",
    "Round2Package",
    "Share",
    "SignatureShare",
    "SpentError",
    "Vault",
    "aggregate",
    "answer",
    "answer_with_words",
    "begin",
    "commit",
    "deal_out",
    "drill",
    "finish",
    "last_proven",
    "overdue",
    "replace",
    "restore",
    "rule_digest",
    "sheet",
    "sign",
    "split",
    "split_seed",
    "transcript",
]
