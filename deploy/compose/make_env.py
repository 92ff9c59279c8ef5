"""Writes new random passwords to deploy/compose/.env, which git ignores: ``python3 deploy/compose/make_env.py``.

They are those of compose.yaml and of ams2.yaml. Needs nothing but Python. An existing file is never replaced, because
Postgres and the S3 server keep the passwords they were first started with.
"""

import os
import secrets
import sys
from pathlib import Path

NAMES = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "STORE_PASSWORD", "APEX_WEB_PASSWORD", "APEX_API_TOKEN")
# 192 bits each. Hexadecimal, because two of them are parts of URLs.
_BYTES = 24


def main() -> None:
    """Write the file, readable by its owner only."""
    target = Path(__file__).with_name(".env")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.exit(f"{target} exists already and stays as it is: remove it together with the volumes of the services.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{name}={secrets.token_hex(_BYTES)}\n" for name in NAMES)
    print(f"Wrote {target}: the password of the UI, whose user is apex, the token of the races' API, and others.")


if __name__ == "__main__":
    main()
