BLANK_ROOT: bytes
