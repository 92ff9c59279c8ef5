"""Contains what people look at: small pictures of a session, and amounts as they read them."""
