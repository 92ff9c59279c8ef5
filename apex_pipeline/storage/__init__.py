"""Contains the object store and its two backends, verified copying and change detection; nothing specific to racing."""
