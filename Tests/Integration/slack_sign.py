#!/usr/bin/env python3
"""Signs standard input as Slack does, with Slack's own signer: prints the timestamp and the signature.

    slack_sign.py SECRET [TIMESTAMP]
"""

import sys
import time

from slack_sdk.signature import SignatureVerifier

timestamp = sys.argv[2] if len(sys.argv) > 2 else str(int(time.time()))
body = sys.stdin.buffer.read()
print(timestamp, SignatureVerifier(sys.argv[1]).generate_signature(timestamp=timestamp, body=body))
