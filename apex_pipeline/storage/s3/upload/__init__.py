"""Upload objects to a bucket, with verified checksums, retries, and resumption of interrupted uploads.

Contains uploader.py, which sends one object, in one request or in parts (multipart.py). journal.py records multipart
uploads on disk so that a later process can resume them, requests.py sends the requests, and checksums.py verifies what
the store acknowledges. Every object carries the checksums of its blocks (storage/block_checksums.py) in its metadata,
so that readers can verify any range. See store.py for the keys and storage/copy.py for which files are sent.
"""
