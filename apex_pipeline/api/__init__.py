"""Contains the HTTP interface (extra ``api``): what goes over the wire, and nothing that is not about the wire."""
