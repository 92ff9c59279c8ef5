"""The contract of object stores and data loaders, tested on every backend."""
