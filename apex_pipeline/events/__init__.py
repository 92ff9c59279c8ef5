"""Ships rotated event files from a folder to a bucket: each once, in order, byte for byte.

>>> from apex_pipeline.events.s3_client import S3Client
>>> S3Client({"BUCKET_NAME": "apex-events"}).get_s3_key("20250729_161500.xml")
'xml-events/20250729_161500.xml'

See ``ship.py`` for one pass over a folder and ``watch.py`` for passes without end. The names of the files are rules of
``sources/events/rotation.py``; what is in the files is not looked at here, except for whether it is well-formed.
"""
