"""Sends the requests for one object (PUT, HEAD, GET) with half of botocore's processor time, and nothing else.

botocore builds each request from its model of the service, which takes three quarters of the time of a small object.
Here, address, signer, credentials and retries are still botocore's, asked for once or through its public events; only
the building and the parsing of these three requests are own code. What cannot be sent like this, botocore sends.
"""
