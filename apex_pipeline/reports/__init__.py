"""Contains what people look at: small pictures of a session, its report, and the index of a lake."""
