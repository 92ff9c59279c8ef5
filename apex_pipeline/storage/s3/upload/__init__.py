"""Bytes on their way into a bucket: checked on both ends, tried again where that helps, gone on with where they broke.

``upload`` sends one object: in one request, or in parts (``multipart``) that are noted on disk (``journal``) so that a
later process can go on. ``requests`` are what both are made of, ``receipts`` is how a store confirms what it got,
``retries`` says what is worth another try. Every object carries the sums of its blocks (``storage/block_checksums.py``)
in its ``metadata``, so that any range of it can be checked by who reads it. Not here: which objects there are
(``store.py``), and which files are sent (``storage/copy.py``).
"""
