from typing import Final

POOL_LEDGER_ID: Final = 0
DOMAIN_LEDGER_ID: Final = 1
CONFIG_LEDGER_ID: Final = 2
AUDIT_LEDGER_ID: Final = 3
AUDIT_TXN_LEDGERS_SIZE: Final = "ledgerSize"
AUDIT_TXN_LEDGER_ROOT: Final = "ledgerRoot"
AUDIT_TXN_STATE_ROOT: Final = "stateRoot"
