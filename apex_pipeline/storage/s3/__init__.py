"""A lake in an S3 bucket.

Contains everything that uses boto3: store.py implements the store, reader.py reads objects and ``upload/`` writes them;
all of these use client.py and errors.py.
"""
