# Gives private key, verkey, BLS key and the proof that one has its secret part.
def initNodeKeysForBothStacks(
    name: str, keys_dir: str, sigseed: bytes, *, use_bls: bool = True, override: bool = False
) -> tuple[str, str, str, str]: ...
