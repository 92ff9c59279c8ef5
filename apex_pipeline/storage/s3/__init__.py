"""A lake in an S3 bucket.

Contains everything that uses botocore: store.py implements the store, reader.py reads objects and ``upload/`` writes
them; all of these use client.py and errors.py. ``direct/`` sends the requests for single objects.
"""
