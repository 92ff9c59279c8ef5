"""The lake in a bucket: ``store`` keeps the contract's promises with what the other modules know of S3.

Here belongs all that knows boto3. Sending is ``transfer/``, reading ``reading``, ``ranges`` and ``stream``; ``client``
and ``errors`` are what both stand on.
"""
